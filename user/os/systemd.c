// SPDX-License-Identifier: GPL-2.0-only
#include "os/systemd.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include "os/unit_name.h"
#include "util/util.h"

/* --- asking the manager ------------------------------------------------------------ */

enum { PATIENCE = 10000 /* ms */, ANSWER = 4096 };

/* As sd_booted(3) tells it. */
static bool systemd_runs(void)
{
	struct stat st;

	return !lstat("/run/systemd/system", &st) && S_ISDIR(st.st_mode);
}

static int64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000LL + t.tv_nsec / 1000000;
}

/* Start a program with an environment that has nothing of ours; what it says comes through
 * the pipe. */
static int start(const char *const *argv, int output, pid_t *pid)
{
	static const char *const environment[] = { "LC_ALL=C", "PATH=/usr/bin:/bin",
						   "SYSTEMD_COLORS=0", "SYSTEMD_PAGER=", NULL };
	posix_spawn_file_actions_t files;
	int ret = posix_spawn_file_actions_init(&files);

	if (ret)
		return -ret;
	ret = posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
	if (!ret)
		ret = posix_spawn_file_actions_adddup2(&files, output, 1);
	if (!ret)
		ret = posix_spawn_file_actions_addopen(&files, 2, "/dev/null", O_WRONLY, 0);
	if (!ret)
		ret = posix_spawn(pid, argv[0], &files, NULL, (char *const *)(uintptr_t)argv,
				  (char *const *)(uintptr_t)environment);
	posix_spawn_file_actions_destroy(&files);
	return -ret;
}

/* Read until the other side closes, or time or room are used up. */
static int read_answer(int fd, char *answer, size_t size)
{
	int64_t end = now() + PATIENCE;
	size_t used = 0;

	while (used + 1 < size) {
		struct pollfd wait = { .fd = fd, .events = POLLIN };
		int64_t left = end - now();
		ssize_t got;

		if (left <= 0)
			return -ETIMEDOUT;
		if (poll(&wait, 1, (int)left) <= 0)
			continue;
		got = read(fd, answer + used, size - 1 - used);
		if (got < 0 && errno != EINTR)
			return -errno;
		if (!got)
			break;
		used += got > 0 ? (size_t)got : 0;
	}
	answer[used] = '\0';
	return 0;
}

static int ask_manager(const char *unit, char answer[ANSWER])
{
	static const char *const paths[] = { "/usr/bin/systemctl", "/bin/systemctl" };
	const char *argv[] = { paths[access(paths[0], X_OK) ? 1 : 0],
			       "--system",
			       "--no-pager",
			       "--no-ask-password",
			       "--property=LoadState,Id,ControlGroup,Slice,DynamicUser",
			       "show",
			       "--",
			       unit,
			       NULL };
	/* One that does not answer is not asked again, as there may be many units. */
	static bool silent;
	_cleanup_close_ int from = -1, to = -1;
	int ends[2], ret;
	pid_t pid = 0;

	if (!systemd_runs())
		return -ESRCH;
	if (silent)
		return -ETIMEDOUT;
	if (pipe2(ends, O_CLOEXEC))
		return -errno;
	from = ends[0];
	to = ends[1];
	signal(SIGCHLD, SIG_DFL); /* where it is ignored, the number may be another's by the end */
	ret = start(argv, to, &pid);
	if (ret || pid <= 0)
		return ret ? ret : -ECHILD;
	ps_close(&to);
	to = -1;
	ret = read_answer(from, answer, ANSWER);
	silent = ret == -ETIMEDOUT;
	/* It has said all that is wanted. */
	kill(pid, SIGKILL);
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	return ret;
}

/* The manager's answer, taken apart: its lines are KEY=VALUE. */
struct answer {
	char text[ANSWER];
	const char *state, *id, *cgroup, *slice, *dynamic; /* "" if there is none */
};

static int ask(const char *unit, struct answer *a)
{
	struct {
		const char *key;
		const char **value;
	} keys[] = { { "LoadState", &a->state },
		     { "Id", &a->id },
		     { "ControlGroup", &a->cgroup },
		     { "Slice", &a->slice },
		     { "DynamicUser", &a->dynamic } };
	char *save = NULL;
	int ret = ask_manager(unit, a->text);

	for (size_t i = 0; i < PS_ARRAY_SIZE(keys); i++)
		*keys[i].value = "";
	if (ret)
		return ret;
	for (char *line = strtok_r(a->text, "\n", &save); line;
	     line = strtok_r(NULL, "\n", &save)) {
		char *value = strchr(line, '=');

		for (size_t i = 0; value && i < PS_ARRAY_SIZE(keys); i++) {
			if (!strncmp(line, keys[i].key, (size_t)(value - line)) &&
			    !keys[i].key[value - line])
				*keys[i].value = value + 1;
		}
	}
	return *a->state ? 0 : -EPROTO;
}

/* What it says of a unit that it has loaded. 0: the path is known. */
static int take_answer(const struct answer *a, const char *name, struct ps_unit *unit)
{
	const char *id = *a->id && !ps_unit_check(a->id, NULL) ? a->id : name;

	if (strcmp(a->state, "loaded"))
		return -ENOENT;
	if (*a->cgroup == '/' && strlen(a->cgroup) < sizeof(unit->path)) {
		strcpy(unit->path, a->cgroup);
		return 0;
	}
	if (!*a->slice)
		return -ENOENT;
	return ps_unit_path(id, a->slice, unit->path, sizeof(unit->path));
}

bool ps_unit_has_dynamic_user(const char *name)
{
	struct answer a;

	return !ps_unit_check(name, NULL) && !ask(name, &a) && !strcmp(a.dynamic, "yes");
}

/* --- its files --------------------------------------------------------------------- */

enum { FILE_SIZE = 256 << 10, DROP_INS = 256 };

/* Where the system's units are, the first before the later ones: systemd.unit(5). */
static const char *const folders[] = {
	"/etc/systemd/system.control", "/run/systemd/system.control",
	"/run/systemd/transient",      "/run/systemd/generator.early",
	"/etc/systemd/system",	       "/etc/systemd/system.attached",
	"/run/systemd/system",	       "/run/systemd/system.attached",
	"/run/systemd/generator",      "/usr/local/lib/systemd/system",
	"/usr/lib/systemd/system",     "/lib/systemd/system",
	"/run/systemd/generator.late",
};

/* Reading a unit's files. */
struct reading {
	const char *unit;
	char names[16][PS_UNIT_NAME]; /* by which its files may go, most special first */
	size_t name_count;
	char slice[PS_UNIT_NAME]; /* "": none said */
	char drop_in[DROP_INS][NAME_MAX + 1]; /* their names, and where the one that counts is */
	char path[DROP_INS][768];
	size_t drop_in_count;
	int ret;
};

static void read_file(struct reading *r, const char *path)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	_cleanup_free_ char *text = NULL;
	struct stat st;
	ssize_t size;
	int ret;

	if (fd < 0 || fstat(fd, &st) || !S_ISREG(st.st_mode))
		return;
	text = malloc(FILE_SIZE);
	size = text ? read(fd, text, FILE_SIZE) : 0;
	ret = size > 0 ? ps_unit_file_slice(text, (size_t)size, r->unit, r->slice) : 0;
	if (ret)
		r->ret = ret < 0 ? ret : 0;
}

/* "web@1.service": itself, then "web@.service". */
static void name_files(struct reading *r)
{
	const char *at = strchr(r->unit, '@');

	snprintf(r->names[r->name_count++], PS_UNIT_NAME, "%s", r->unit);
	if (at)
		snprintf(r->names[r->name_count++], PS_UNIT_NAME, "%.*s%s", (int)(at - r->unit) + 1,
			 r->unit, strrchr(r->unit, '.'));
}

/* Drop-ins may also be for all whose name begins so: "a-b.service" has those of
 * "a-.service", and of "service". */
static void name_drop_ins(struct reading *r)
{
	const char *dot = strrchr(r->unit, '.'), *at = strchr(r->unit, '@');
	const char *end = at ? at : dot;

	while (end > r->unit && r->name_count + 1 < PS_ARRAY_SIZE(r->names)) {
		if (*--end == '-')
			snprintf(r->names[r->name_count++], PS_UNIT_NAME, "%.*s%s%s",
				 (int)(end - r->unit) + 1, r->unit, at ? "@" : "", dot);
	}
	snprintf(r->names[r->name_count++], PS_UNIT_NAME, "%s", dot + 1);
}

static void list_drop_ins(struct reading *r, const char *folder)
{
	DIR *dir = opendir(folder);
	struct dirent *entry;

	while (dir && (entry = readdir(dir)) && r->drop_in_count < DROP_INS) {
		const char *name = entry->d_name;
		size_t i = 0;

		while (i < r->drop_in_count && strcmp(r->drop_in[i], name))
			i++;
		if (*name == '.' || !ps_unit_is(name, ".conf") || i < r->drop_in_count)
			continue;
		snprintf(r->drop_in[i], sizeof(r->drop_in[i]), "%s", name);
		snprintf(r->path[i], sizeof(r->path[i]), "%s/%s", folder, name);
		r->drop_in_count++;
	}
	if (dir)
		closedir(dir);
}

/* In the order of their names, wherever they are. */
static void read_drop_ins(struct reading *r)
{
	const char *last = "";

	for (size_t n = 0; n < r->drop_in_count; n++) {
		size_t next = DROP_INS;

		for (size_t i = 0; i < r->drop_in_count; i++) {
			if (strcmp(r->drop_in[i], last) > 0 &&
			    (next == DROP_INS || strcmp(r->drop_in[i], r->drop_in[next]) < 0))
				next = i;
		}
		read_file(r, r->path[next]);
		last = r->drop_in[next];
	}
}

static void read_files(struct reading *r)
{
	char path[384];
	struct stat st;
	bool found = false;

	name_files(r);
	for (size_t n = 0; n < r->name_count && !found; n++) {
		for (size_t i = 0; i < PS_ARRAY_SIZE(folders) && !found; i++) {
			snprintf(path, sizeof(path), "%s/%s", folders[i], r->names[n]);
			found = !stat(path, &st);
			if (found)
				read_file(r, path);
		}
	}
	name_drop_ins(r);
	for (size_t n = 0; n < r->name_count; n++) {
		for (size_t i = 0; i < PS_ARRAY_SIZE(folders); i++) {
			snprintf(path, sizeof(path), "%s/%s.d", folders[i], r->names[n]);
			list_drop_ins(r, path);
		}
	}
	read_drop_ins(r);
}

static int compute(const char *name, struct ps_unit *unit, struct ps_error *error)
{
	_cleanup_free_ struct reading *r = calloc(1, sizeof(*r));
	int ret;

	if (!r)
		return ps_fail(error, PS_EXIT_FAILED, ENOMEM, "out of memory; free some");
	r->unit = name;
	ret = ps_unit_usual_slice(name, r->slice);
	if (!ret)
		read_files(r);
	if (r->ret)
		return ps_fail(error, PS_EXIT_FAILED, ENOTSUP,
			       "cgroup unit:%.200s: only systemd can evaluate the Slice= in its "
			       "unit files, and it does not respond; give the cgroup's path",
			       name);
	if (!ret)
		ret = ps_unit_path(name, r->slice, unit->path, sizeof(unit->path));
	if (ret)
		return ps_fail(error, PS_EXIT_USAGE, -ret,
			       "cgroup unit:%.200s: the name is too long for a cgroup's path; give the "
			       "path",
			       name);
	return 0;
}

int ps_unit_find(const char *name, struct ps_unit *unit, struct ps_error *error)
{
	struct answer answer;
	int ret = ps_unit_check(name, error);

	if (ret)
		return ret;
	unit->assumed = NULL;
	/* A slice is where its name says. */
	if (ps_unit_is(name, ".slice"))
		return compute(name, unit, error);
	ret = ask(name, &answer);
	if (!ret)
		ret = take_answer(&answer, name, unit);
	if (!ret)
		return 0;
	unit->assumed = ret == -ESRCH  ? "systemd is not running" :
			ret == -ENOENT ? "systemd has no such system unit yet" :
					 "systemd does not respond";
	return compute(name, unit, error);
}
