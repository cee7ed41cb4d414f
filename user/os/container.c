// SPDX-License-Identifier: GPL-2.0-only
#include "os/container.h"

#include <dirent.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>

#include "os/unit_name.h"
#include "util/util.h"

/* How runtimes call a container's cgroup. */
enum { CONTAINER_ID = 12, CONTAINER_NAME = 128 };
struct container {
	const char *text;
	bool is_id; /* text may be an id, or the beginning of one */
	char escaped[4 * CONTAINER_NAME + 1]; /* as systemd writes it in units' names */
};

static const char hex_digits[] = "0123456789abcdef";

static bool is_id(const char *name, size_t len, const struct container *c)
{
	return c->is_id && strspn(name, hex_digits) >= len &&
	       !strncmp(name, c->text, strlen(c->text));
}

/* "docker-ID.scope". The monitors of Podman and CRI-O are "libpod-conmon-ID.scope", so that
 * what follows the engine's name is no id. */
static bool is_scope(const char *name, const struct container *c)
{
	static const char *const engines[] = { "docker-", "libpod-", "nerdctl-", "cri-containerd-",
					       "crio-" };

	if (!ps_unit_is(name, ".scope"))
		return false;
	for (size_t i = 0; i < PS_ARRAY_SIZE(engines); i++) {
		size_t len = strlen(engines[i]);

		if (!strncmp(name, engines[i], len) &&
		    is_id(name + len, strlen(name + len) - strlen(".scope"), c))
			return true;
	}
	return false;
}

/* systemd-machined has a scope for each machine, or the service that runs it. */
static bool is_machine(const char *name, const struct container *c)
{
	char usual[sizeof(c->escaped) + 32];

	snprintf(usual, sizeof(usual), "machine-%s.scope", c->text);
	if (!strcmp(name, usual))
		return true;
	snprintf(usual, sizeof(usual), "machine-%s.scope", c->escaped);
	if (!strcmp(name, usual))
		return true;
	snprintf(usual, sizeof(usual), "systemd-nspawn@%s.service", c->escaped);
	return !strcmp(name, usual);
}

static bool in_slice(const char *name, const struct container *c)
{
	return is_scope(name, c) || is_machine(name, c);
}

static bool is_bare_id(const char *name, const struct container *c)
{
	return is_id(name, strlen(name), c);
}

static bool is_libpod(const char *name, const struct container *c)
{
	return !strncmp(name, "libpod-", 7) && is_bare_id(name + 7, c);
}

static bool is_lxc(const char *name, const struct container *c)
{
	return !strcmp(name, c->text);
}

static bool is_payload(const char *name, const struct container *c)
{
	return !strncmp(name, "lxc.payload.", 12) && !strcmp(name + 12, c->text);
}

/* Folders that hold more of the same, and are no container's. */
static bool is_slice(const char *name)
{
	return ps_unit_is(name, ".slice");
}

static bool is_pod(const char *name)
{
	return !strcmp(name, "burstable") || !strcmp(name, "besteffort") ||
	       !strncmp(name, "pod", 3);
}

/* A place where containers' cgroups are. */
struct place {
	const char *path;
	bool (*matches)(const char *name, const struct container *c);
	bool (*goes_on)(const char *name); /* NULL: nothing is looked for further below */
};

/* Those without systemd: the runtimes' "cgroupfs" drivers, and LXC. */
static const struct place places[] = {
	{ "", is_payload, NULL },
	{ "/lxc", is_lxc, NULL },
	{ "/docker", is_bare_id, NULL },
	{ "/libpod_parent", is_libpod, NULL },
	{ "/kubepods", is_bare_id, is_pod },
};

struct search {
	const struct container *container;
	const struct place *place;
	size_t root; /* length of the mount point in path */
	bool users; /* look at what is a user's own */
	unsigned int left; /* this many folders more are looked at */
	char path[PS_CGROUP_PATH + 256]; /* the one being looked at */
	char found[2][PS_CGROUP_PATH];
	unsigned int count;
};

enum { MOST_FOLDERS = 1 << 20, MOST_OF_USERS = 1 << 14 };

/* Whose name somebody else could make up is none of ours. */
static DIR *open_folder(const struct search *s)
{
	DIR *dir = opendir(s->path);
	struct stat st;

	if (dir && (fstat(dirfd(dir), &st) || (st.st_uid && !s->users))) {
		closedir(dir);
		dir = NULL;
	}
	return dir;
}

static bool push(struct search *s, const char *name, size_t *len)
{
	*len = strlen(s->path);
	if (name[0] == '.' || *len - s->root + strlen(name) + 2 > PS_CGROUP_PATH ||
	    *len + strlen(name) + 2 > sizeof(s->path))
		return false;
	snprintf(s->path + *len, sizeof(s->path) - *len, "/%s", name);
	return true;
}

static void look_below(struct search *s, unsigned int depth)
{
	DIR *dir = depth > PS_CGROUP_DEPTH ? NULL : open_folder(s);
	struct dirent *entry;
	size_t len;

	while (dir && s->count < 2 && s->left && (entry = readdir(dir))) {
		if (entry->d_type != DT_DIR || !push(s, entry->d_name, &len))
			continue;
		s->left--;
		if (s->place->matches(entry->d_name, s->container))
			snprintf(s->found[s->count++], PS_CGROUP_PATH, "%s", s->path + s->root);
		else if (s->place->goes_on && s->place->goes_on(entry->d_name))
			look_below(s, depth + 1);
		s->path[len] = '\0';
	}
	if (dir)
		closedir(dir);
}

static void look_in(struct search *s, const struct place *place)
{
	size_t len = strlen(s->path);

	if (len + strlen(place->path) >= sizeof(s->path))
		return;
	strcpy(s->path + len, place->path);
	s->place = place;
	look_below(s, 1);
	s->path[len] = '\0';
}

/* Each folder in the one being looked at whose name is `prefix` ... `suffix`. */
static void each_folder(struct search *s, const char *prefix, const char *suffix,
			void (*look)(struct search *s))
{
	DIR *dir = open_folder(s);
	struct dirent *entry;
	size_t len;

	while (dir && s->count < 2 && s->left && (entry = readdir(dir))) {
		if (entry->d_type != DT_DIR || strncmp(entry->d_name, prefix, strlen(prefix)) ||
		    !ps_unit_is(entry->d_name, suffix) || !push(s, entry->d_name, &len))
			continue;
		s->left--;
		look(s);
		s->path[len] = '\0';
	}
	if (dir)
		closedir(dir);
}

static void look_in_slice(struct search *s)
{
	static const struct place slice = { "", in_slice, is_slice };

	/* Below that is what users' own managers make. */
	if (strcmp(s->path + s->root, "/user.slice"))
		look_in(s, &slice);
}

static void look_everywhere(struct search *s)
{
	each_folder(s, "", ".slice", look_in_slice);
	for (size_t i = 0; i < PS_ARRAY_SIZE(places); i++)
		look_in(s, &places[i]);
}

/* Containers without root: below a user's own manager. */
static void look_at_user(struct search *s)
{
	static const struct place user_slices[] = { { "/user.slice", is_scope, is_slice },
						    { "/app.slice", is_scope, is_slice } };

	for (size_t i = 0; i < PS_ARRAY_SIZE(user_slices); i++)
		look_in(s, &user_slices[i]);
}

static void look_at_users_slice(struct search *s)
{
	each_folder(s, "user@", ".service", look_at_user);
}

static void look_at_users(struct search *s)
{
	size_t len;

	s->users = true;
	s->left = MOST_OF_USERS;
	if (!push(s, "user.slice", &len))
		return;
	each_folder(s, "user-", ".slice", look_at_users_slice);
	s->path[len] = '\0';
}

static int parse(const char *text, struct container *c, struct ps_error *error)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				    "0123456789._-";
	size_t len = strlen(text);

	if (!len || len > CONTAINER_NAME || text[0] == '.' || strspn(text, plain) != len)
		return ps_fail(error, PS_EXIT_USAGE, EINVAL,
			       "cgroup container:%.200s: neither a container id nor a container "
			       "name; write it as container:0123456789ab",
			       text);
	*c = (struct container){ .text = text };
	c->is_id = len >= CONTAINER_ID && strspn(text, hex_digits) == len;
	return ps_unit_escape(text, c->escaped, sizeof(c->escaped));
}

static int fail(const struct search *s, const char *text, bool of_user, struct ps_error *error)
{
	if (s->count > 1 && !of_user)
		return ps_fail(error, PS_EXIT_FAILED, EEXIST,
			       "cgroup container:%.128s: more than one matches, %.300s and %.300s; "
			       "give more of the id, or the path",
			       text, s->found[0], s->found[1]);
	if (s->count)
		return ps_fail(error, PS_EXIT_FAILED, EPERM,
			       "cgroup container:%.128s: it is in %.500s, where a user chooses the "
			       "names; if it is the right one, give its path",
			       text, s->found[0]);
	return ps_fail(error, PS_EXIT_FAILED, ENOENT,
		       "cgroup container:%.128s: there is no such container; start it first, and give "
		       "12 digits or more of its id, as 'docker ps' or 'podman ps' shows it, or its "
		       "cgroup's path",
		       text);
}

int ps_container_find(const char *text, const char *mount, char path[PS_CGROUP_PATH],
		      struct ps_error *error)
{
	struct container container;
	struct search s = { .container = &container, .root = strlen(mount), .left = MOST_FOLDERS };
	int ret = parse(text, &container, error);

	if (ret)
		return ret;
	snprintf(s.path, sizeof(s.path), "%s", mount);
	look_everywhere(&s);
	if (s.count == 1) {
		strcpy(path, s.found[0]);
		return 0;
	}
	if (s.count)
		return fail(&s, text, false, error);
	look_at_users(&s);
	return fail(&s, text, true, error);
}
