// SPDX-License-Identifier: GPL-2.0-only
#include "os/refusal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

const char *ps_rights(void)
{
	return "CAP_SYS_ADMIN and CAP_NET_ADMIN";
}

/* Does the error say that something was forbidden? The verifier says EACCES too. */
static bool is_refusal(int err)
{
	return err == EPERM || err == EACCES;
}

/* Is the kernel older than what portsteer is made for? One whose number cannot be read is not. */
static bool is_old(const char *release)
{
	unsigned int major, minor;

	return sscanf(release, "%u.%u", &major, &minor) == 2 &&
	       (major < 6 || (major == 6 && minor < 1));
}

/* Does this process lack something for the moment? libbpf says ESRCH of the kernel's types, for a
 * lack of memory also. */
static bool lacks_room(int err, const struct ps_facts *facts, struct ps_why *why)
{
	bool files = err == EMFILE || err == ENFILE;

	if (!files && err != ENOMEM && !(err == ESRCH && facts->btf))
		return false;
	why->status = PS_EXIT_FAILED;
	snprintf(why->why, sizeof(why->why), "there %s",
		 files ? "are too few file descriptors" : "is too little memory");
	snprintf(why->advice, sizeof(why->advice), "%s",
		 files ? "raise the limit of open files ('ulimit -n 1024'), or close some" :
			 "free some, or raise the limits of this process ('ulimit -v unlimited') and "
			 "of its memory cgroup");
	return true;
}

static bool no_rights(int err, const struct ps_facts *facts, struct ps_why *why)
{
	if (!is_refusal(err) || facts->root)
		return false;
	why->status = PS_EXIT_NOT_PERMITTED;
	snprintf(why->why, sizeof(why->why), "this process lacks the necessary privileges");
	snprintf(why->advice, sizeof(why->advice), "run portsteer as root with %s", ps_rights());
	return true;
}

static bool no_types(int err, const struct ps_facts *facts, struct ps_why *why)
{
	if (facts->btf || err == EPERM)
		return false;
	why->status = PS_EXIT_UNSUPPORTED;
	if (facts->sysfs) {
		snprintf(why->why, sizeof(why->why),
			 "there is no /sys/kernel/btf/vmlinux, which the programs need");
		snprintf(why->advice, sizeof(why->advice),
			 "use a kernel with CONFIG_DEBUG_INFO_BTF");
	} else {
		snprintf(why->why, sizeof(why->why),
			 "sysfs is not mounted on /sys, so /sys/kernel/btf/vmlinux is missing");
		snprintf(why->advice, sizeof(why->advice), "run 'mount -t sysfs sysfs /sys'");
	}
	return true;
}

static bool in_namespace(int err, const struct ps_facts *facts, struct ps_why *why)
{
	if (!is_refusal(err) || !facts->user_namespace)
		return false;
	why->status = PS_EXIT_NOT_PERMITTED;
	snprintf(why->why, sizeof(why->why),
		 "this process has its capabilities in a user namespace only (as in a rootless "
		 "container), and they do not apply outside it");
	snprintf(why->advice, sizeof(why->advice), "run portsteer on the host");
	return true;
}

/* In this mode helpers that read memory are unknown to the verifier (EINVAL). */
static bool locked_down(int err, const struct ps_facts *facts, struct ps_why *why)
{
	if (!facts->confidential || (!is_refusal(err) && err != EINVAL))
		return false;
	why->status = PS_EXIT_NOT_PERMITTED;
	snprintf(why->why, sizeof(why->why),
		 "kernel lockdown is in mode 'confidentiality' (/sys/kernel/security/lockdown), in "
		 "which BPF programs may not read kernel memory");
	snprintf(why->advice, sizeof(why->advice),
		 "boot with lockdown=integrity, or without lockdown=");
	return true;
}

/* All that may have refused, as none of them says that it was it. */
static void name_keepers(const struct ps_facts *facts, struct ps_why *why)
{
	char apparmor[sizeof(facts->apparmor) + 32] = "";

	if (*facts->apparmor)
		snprintf(apparmor, sizeof(apparmor), "AppArmor profile %s", facts->apparmor);
	snprintf(why->why, sizeof(why->why), "%s%s%s%s%s probably denies it",
		 facts->selinux ? "SELinux (enforcing)" : "",
		 facts->selinux && *apparmor ? " or " : "", apparmor,
		 (facts->selinux || *apparmor) && facts->seccomp ? " or " : "",
		 facts->seccomp ? "a system call filter (of a container or a unit)" : "");
	snprintf(why->advice, sizeof(why->advice), "%s",
		 facts->selinux || *apparmor ?
			 "see 'journalctl -k -g audit' or /var/log/audit/audit.log for the denial, "
			 "and allow bpf(2) for portsteer" :
			 "allow bpf(2) for portsteer in it");
}

static bool is_kept(int err, const struct ps_facts *facts, struct ps_why *why)
{
	if (!is_refusal(err))
		return false;
	why->status = PS_EXIT_NOT_PERMITTED;
	if (facts->selinux || *facts->apparmor || (facts->seccomp && err == EPERM)) {
		name_keepers(facts, why);
		return true;
	}
	if (err == EACCES)
		return false;
	snprintf(why->why, sizeof(why->why),
		 "this process has the privileges, so a security module of the kernel may deny it");
	snprintf(why->advice, sizeof(why->advice),
		 "see 'journalctl -k' and /sys/kernel/security/lsm");
	return true;
}

static bool is_too_old(const struct ps_facts *facts, struct ps_why *why)
{
	if (!is_old(facts->release))
		return false;
	why->status = PS_EXIT_UNSUPPORTED;
	snprintf(why->why, sizeof(why->why), "Linux %.60s is too old", facts->release);
	snprintf(why->advice, sizeof(why->advice), "use Linux 6.1 or newer");
	return true;
}

void ps_why(int err, const struct ps_facts *facts, struct ps_why *why)
{
	if (lacks_room(err, facts, why) || no_rights(err, facts, why) || is_too_old(facts, why) ||
	    no_types(err, facts, why) || in_namespace(err, facts, why) ||
	    locked_down(err, facts, why) || is_kept(err, facts, why))
		return;
	why->status = PS_EXIT_UNSUPPORTED;
	snprintf(why->why, sizeof(why->why),
		 "Linux %.60s is recent enough, but may have been built without some BPF features",
		 facts->release);
	snprintf(why->advice, sizeof(why->advice),
		 "use one with CONFIG_BPF_SYSCALL, CONFIG_CGROUP_BPF and CONFIG_DEBUG_INFO_BTF");
}
