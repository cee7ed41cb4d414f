// SPDX-License-Identifier: GPL-2.0-only
#include "os/refusal_facts.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <sys/vfs.h>

#include <linux/magic.h>

#include "os/privilege.h"
#include "util/util.h"

/* The inode of the first user namespace (PROC_USER_INIT_INO). */
#define FIRST_USER_NAMESPACE 0xEFFFFFFDu

/* The first line of a file without its end; "" if it cannot be read. */
static void read_line(const char *path, char *text, size_t size)
{
	_cleanup_fclose_ FILE *file = fopen(path, "re");

	if (!file || !fgets(text, (int)size, file))
		*text = '\0';
	text[strcspn(text, "\n")] = '\0';
}

/* Of this process; the line "Seccomp:" of its status is 2 where there is a filter. */
static bool has_filter(void)
{
	_cleanup_fclose_ FILE *file = fopen("/proc/self/status", "re");
	char line[256];
	int mode = 0;

	while (file && !mode && fgets(line, sizeof(line), file))
		sscanf(line, "Seccomp: %d", &mode);
	return mode == 2;
}

/* "docker-default (enforce)"; a profile that only complains forbids nothing. */
static void read_profile(char *profile, size_t size)
{
	char text[64];

	read_line("/proc/self/attr/apparmor/current", text, sizeof(text));
	if (!strstr(text, " (enforce)"))
		text[0] = '\0';
	text[strcspn(text, " ")] = '\0';
	snprintf(profile, size, "%s", text);
}

void ps_facts_read(struct ps_facts *facts)
{
	char text[128];
	struct utsname name;
	struct statfs fs;
	struct stat st;

	*facts = (struct ps_facts){ .root = ps_has_rights(), .seccomp = has_filter() };
	facts->user_namespace = !stat("/proc/self/ns/user", &st) &&
				st.st_ino != FIRST_USER_NAMESPACE;
	facts->sysfs = !statfs("/sys", &fs) && (unsigned long)fs.f_type == SYSFS_MAGIC;
	facts->btf = !access("/sys/kernel/btf/vmlinux", R_OK);
	read_line("/sys/kernel/security/lockdown", text, sizeof(text));
	facts->confidential = strstr(text, "[confidentiality]");
	read_line("/sys/fs/selinux/enforce", text, sizeof(text));
	facts->selinux = text[0] == '1';
	read_profile(facts->apparmor, sizeof(facts->apparmor));
	if (!uname(&name))
		snprintf(facts->release, sizeof(facts->release), "%.60s", name.release);
}

int ps_fail_load(struct ps_error *error, int err, const char *what)
{
	struct ps_facts facts;
	struct ps_why why;

	err = err < 0 ? -err : err;
	ps_facts_read(&facts);
	ps_why(err, &facts, &why);
	return ps_fail(error, why.status, err, "cannot load %s: %s (%s); %s", what, why.why,
		       strerror(err), why.advice);
}

int ps_fail_kernel(struct ps_error *error, int err, const char *what)
{
	struct ps_facts facts;
	struct ps_why why;

	err = err < 0 ? -err : err;
	if (err == EPERM || err == EACCES) {
		ps_facts_read(&facts);
		ps_why(err, &facts, &why);
		return ps_fail(error, PS_EXIT_NOT_PERMITTED, err, "cannot %s: %s (%s); %s", what,
			       why.why, strerror(err), why.advice);
	}
	if (err == ENOSYS)
		return ps_fail(error, PS_EXIT_UNSUPPORTED, err,
			       "cannot %s: this kernel has no bpf(2); use one with "
			       "CONFIG_BPF_SYSCALL",
			       what);
	if (err == EMFILE || err == ENFILE || err == ENOMEM) {
		ps_why(err, &(struct ps_facts){}, &why);
		return ps_fail(error, why.status, err, "cannot %s: %s (%s); %s", what, why.why,
			       strerror(err), why.advice);
	}
	return ps_fail(error, PS_EXIT_FAILED, err,
		       "cannot %s: %s; run 'portsteer status' to see "
		       "what is loaded",
		       what, strerror(err));
}
