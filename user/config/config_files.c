// SPDX-License-Identifier: GPL-2.0-only
#include "config/config_files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "config/parse.h"
#include "util/util.h"

/* In rising order. */
static const char *const folders[] = { "/usr/lib/portsteer", "/run/portsteer", "/etc/portsteer" };
#define MAIN_FILE "portsteer.conf"
#define DROP_INS "portsteer.conf.d"

/* A drop-in, of the highest folder that has it. */
struct drop_in {
	char *name; /* owned */
	size_t folder;
};

struct reading {
	struct ps_config *config;
	struct drop_in *drop_ins;
	size_t count;
	size_t size; /* bytes read so far, of all files */
	int ret; /* -ENOMEM */
};

/* Refuse a file or a folder. */
#define refuse(r, path, status, ...)                                                               \
	do {                                                                                       \
		struct ps_error error_;                                                            \
		ps_fail(&error_, status, EINVAL, __VA_ARGS__);                                     \
		refuse_path(r, path, &error_);                                                     \
	} while (0)

static void refuse_path(struct reading *r, const char *path, const struct ps_error *error)
{
	int file = ps_config_file(r->config, path);

	if (file < 0 ||
	    ps_config_mistake(r->config, (struct ps_source){ .file = (uint32_t)file }, error))
		r->ret = -ENOMEM;
}

static void refuse_errno(struct reading *r, const char *path, int err)
{
	refuse(r, path, err == EACCES ? PS_EXIT_NOT_PERMITTED : PS_EXIT_FAILED,
	       "it cannot be read: %s; %s", strerror(err),
	       err == EACCES ? "run it as root" :
	       err == ENOENT ? "check the path" :
			       "give a text file");
}

/* The configuration decides who gets port 80: nobody else may have a hand in it. */
static bool is_trusted(struct reading *r, const char *path, const struct stat *st)
{
	if (st->st_uid && st->st_uid != geteuid()) {
		refuse(r, path, PS_EXIT_FAILED,
		       "it belongs to user %u, who could change the rules; run 'chown root' on it",
		       st->st_uid);
		return false;
	}
	if (st->st_mode & (S_IWGRP | S_IWOTH)) {
		refuse(r, path, PS_EXIT_FAILED,
		       "users other than its owner may write to it (mode %04o) and could change "
		       "the rules; run 'chmod go-w' on it",
		       st->st_mode & 07777u);
		return false;
	}
	return true;
}

/* A link to it hides the files of this name in lower folders. */
static bool is_null_device(const struct stat *st)
{
	return S_ISCHR(st->st_mode) && st->st_rdev == makedev(1, 3);
}

static const char *kind_of(const struct stat *st)
{
	return S_ISDIR(st->st_mode)  ? "a directory" :
	       S_ISFIFO(st->st_mode) ? "a pipe" :
	       S_ISSOCK(st->st_mode) ? "a socket" :
				       "a device";
}

static void refuse_size(struct reading *r, const char *path)
{
	refuse(r, path, PS_EXIT_FAILED,
	       "the configuration is larger than %d MiB in all; use port ranges",
	       PS_CONFIG_SIZE >> 20);
}

/* Parse all that comes from the descriptor; `expected` is how much that may be. */
static void read_text(struct reading *r, const char *path, int fd, size_t expected)
{
	size_t limit = PS_CONFIG_SIZE - r->size, room = expected < limit ? expected + 1 : limit + 1;
	_cleanup_free_ char *text = malloc(room);
	size_t used = 0;
	ssize_t got = 0;
	int file;

	for (; text && (got = read(fd, text + used, room - used)) > 0; used += (size_t)got) {
		if (used + (size_t)got < room)
			continue;
		if (room == limit + 1) {
			refuse_size(r, path);
			return;
		}
		room = 2 * room < limit + 1 ? 2 * room : limit + 1;
		char *grown = realloc(text, room);

		if (!grown)
			break;
		text = grown;
	}
	if (got < 0) {
		refuse_errno(r, path, errno);
		return;
	}
	file = text && !got ? ps_config_file(r->config, path) : -ENOMEM;
	r->size += used;
	r->ret = file < 0 ? file : ps_config_parse(r->config, (uint32_t)file, text, used);
}

static void read_file(struct reading *r, const char *path)
{
	_cleanup_close_ int fd = -1;
	struct stat st;

	/* Opening a device may do something. */
	if (stat(path, &st)) {
		refuse_errno(r, path, errno);
		return;
	}
	if (is_null_device(&st)) {
		if (ps_config_file(r->config, path) < 0)
			r->ret = -ENOMEM;
		return;
	}
	if (S_ISREG(st.st_mode))
		fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (S_ISREG(st.st_mode) && (fd < 0 || fstat(fd, &st)))
		refuse_errno(r, path, errno);
	else if (!S_ISREG(st.st_mode))
		refuse(r, path, PS_EXIT_FAILED, "it is %s; give a text file, or - to read a pipe",
		       kind_of(&st));
	else if ((uint64_t)st.st_size > PS_CONFIG_SIZE - r->size)
		refuse_size(r, path);
	else if (is_trusted(r, path, &st))
		read_text(r, path, fd, (size_t)st.st_size);
}

/* Is there a folder of this name that may be trusted? What is wrong with one that may not
 * is noted. */
static bool has_folder(struct reading *r, const char *path)
{
	struct stat st;

	if (stat(path, &st)) {
		if (errno != ENOENT)
			refuse_errno(r, path, errno);
		return false;
	}
	if (!S_ISDIR(st.st_mode)) {
		refuse(r, path, PS_EXIT_FAILED, "it is not a directory; remove it");
		return false;
	}
	return is_trusted(r, path, &st);
}

static bool is_drop_in(const char *name)
{
	static const char ending[] = ".conf";
	size_t length = strlen(name), tail = sizeof(ending) - 1;

	return name[0] != '.' && length > tail && !strcmp(name + length - tail, ending);
}

static int compare_drop_ins(const void *left, const void *right)
{
	const struct drop_in *a = left, *b = right;
	int order = strcmp(a->name, b->name);

	return order ? order : (a->folder > b->folder) - (a->folder < b->folder);
}

static void add_drop_in(struct reading *r, size_t folder, const char *name)
{
	struct drop_in *grown = reallocarray(r->drop_ins, r->count + 1, sizeof(*grown));
	char *copy = strdup(name);

	if (grown)
		r->drop_ins = grown;
	if (!grown || !copy) {
		free(copy);
		r->ret = -ENOMEM;
		return;
	}
	grown[r->count++] = (struct drop_in){ copy, folder };
}

static void list_drop_ins(struct reading *r, size_t folder)
{
	char path[PATH_MAX];
	struct dirent *entry;
	DIR *dir;

	snprintf(path, sizeof(path), "%s/" DROP_INS, folders[folder]);
	if (!has_folder(r, path))
		return;
	dir = opendir(path);
	if (!dir) {
		refuse_errno(r, path, errno);
		return;
	}
	while (!r->ret && (entry = readdir(dir))) {
		if (is_drop_in(entry->d_name))
			add_drop_in(r, folder, entry->d_name);
	}
	closedir(dir);
}

static void read_drop_ins(struct reading *r)
{
	char path[PATH_MAX];

	if (r->count)
		qsort(r->drop_ins, r->count, sizeof(*r->drop_ins), compare_drop_ins);
	for (size_t i = 0; i < r->count && !r->ret; i++) {
		const struct drop_in *d = &r->drop_ins[i];

		if (i + 1 < r->count && !strcmp(d->name, r->drop_ins[i + 1].name))
			continue; /* overridden */
		snprintf(path, sizeof(path), "%s/" DROP_INS "/%s", folders[d->folder], d->name);
		read_file(r, path);
	}
}

static void read_standard_files(struct reading *r)
{
	bool there[PS_ARRAY_SIZE(folders)];
	char path[PATH_MAX] = "", next[PATH_MAX];
	struct stat st;

	for (size_t i = 0; i < PS_ARRAY_SIZE(folders); i++) {
		there[i] = has_folder(r, folders[i]);
		snprintf(next, sizeof(next), "%s/" MAIN_FILE, folders[i]);
		/* Also a link that leads nowhere: it was meant to count. */
		if (there[i] && (!lstat(next, &st) || errno != ENOENT))
			strcpy(path, next);
	}
	if (*path)
		read_file(r, path);
	for (size_t i = 0; i < PS_ARRAY_SIZE(folders) && !r->ret; i++) {
		if (there[i])
			list_drop_ins(r, i);
	}
	read_drop_ins(r);
}

int ps_config_read(struct ps_config *config, const char *path, struct ps_error *error)
{
	struct reading r = { .config = config };

	if (!path)
		read_standard_files(&r);
	else if (strcmp(path, "-"))
		read_file(&r, path);
	else
		read_text(&r, "(standard input)", STDIN_FILENO, 65536);
	for (size_t i = 0; i < r.count; i++)
		free(r.drop_ins[i].name);
	free(r.drop_ins);
	return r.ret ? ps_fail(error, PS_EXIT_FAILED, ENOMEM, "out of memory; free some") : 0;
}
