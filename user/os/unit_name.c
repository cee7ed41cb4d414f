// SPDX-License-Identifier: GPL-2.0-only
#include "os/unit_name.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "util/util.h"

/* What names of units are made of; '@' is between a template and its instance. */
#define VALID                                                                                      \
	"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"                                     \
	"0123456789:-_.\\"

/* Kinds of units that have a cgroup, and the section of their files that may have Slice=. */
static const struct kind {
	const char *suffix, *section;
} kinds[] = {
	{ ".service", "[Service]" }, { ".scope", "[Scope]" }, { ".slice", NULL },
	{ ".socket", "[Socket]" },   { ".mount", "[Mount]" }, { ".swap", "[Swap]" },
};

bool ps_unit_is(const char *name, const char *suffix)
{
	size_t len = strlen(name), tail = strlen(suffix);

	return len > tail && !strcmp(name + len - tail, suffix);
}

static const struct kind *kind_of(const char *name)
{
	for (size_t i = 0; i < PS_ARRAY_SIZE(kinds); i++) {
		if (ps_unit_is(name, kinds[i].suffix))
			return &kinds[i];
	}
	return NULL;
}

static bool is_name(const char *name)
{
	const char *at = strchr(name, '@');

	if (strlen(name) >= PS_UNIT_NAME || at == name || *name == '.')
		return false;
	return name[strspn(name, at ? VALID "@" : VALID)] == '\0';
}

int ps_unit_check(const char *name, struct ps_error *error)
{
	static const char *const without[] = { ".timer", ".target", ".path", ".device",
					       ".automount" };
	const struct kind *kind = kind_of(name);
	const char *at = strchr(name, '@');
	char path[16];

	for (size_t i = 0; i < PS_ARRAY_SIZE(without); i++) {
		if (is_name(name) && ps_unit_is(name, without[i]))
			return ps_fail(error, PS_EXIT_USAGE, EINVAL,
				       "cgroup unit:%.200s: a unit of this kind has no cgroup; name "
				       "the service",
				       name);
	}
	if (!kind || !is_name(name) ||
	    (!kind->section && ps_slice_path(name, path, sizeof(path)) == -EINVAL))
		return ps_fail(error, PS_EXIT_USAGE, EINVAL,
			       "cgroup unit:%.200s: not a unit name; write it with its suffix, as "
			       "in unit:web.service",
			       name);
	if (at && at[1] == '.' && !strcmp(at + 1, kind->suffix))
		return ps_fail(error, PS_EXIT_USAGE, EINVAL,
			       "cgroup unit:%.200s: it is a template; name an instance, as in "
			       "unit:web@1.service",
			       name);
	return 0;
}

int ps_unit_escape(const char *text, char *to, size_t size)
{
	size_t used = 0;

	for (const char *c = text; *c; c++) {
		bool plain = *c != '-' && *c != '\\' && strchr(VALID, *c) &&
			     !(c == text && *c == '.');
		char one[8];
		size_t len;

		if (plain || *c == '/')
			len = (size_t)snprintf(one, sizeof(one), "%c", plain ? *c : '-');
		else
			len = (size_t)snprintf(one, sizeof(one), "\\x%02x", (unsigned char)*c);
		if (used + len >= size)
			return -E2BIG;
		memcpy(to + used, one, len);
		used += len;
	}
	if (!size)
		return -E2BIG;
	to[used] = '\0';
	return 0;
}

/* Would a cgroup of this name be taken for one of the kernel's files? systemd then puts '_'
 * in front. */
static bool needs_mark(const char *name)
{
	static const char *const kernel[] = {
		"cgroup",
		"cpu",
		"cpuacct",
		"cpuset",
		"io",
		"blkio",
		"memory",
		"devices",
		"pids",
		"bpf-firewall",
		"bpf-devices",
		"bpf-foreign",
		"bpf-socket-bind",
		"bpf-restrict-network-interfaces",
	};

	if (*name == '_' || *name == '.')
		return true;
	for (size_t i = 0; i < PS_ARRAY_SIZE(kernel); i++) {
		size_t len = strlen(kernel[i]);

		if (!strncmp(name, kernel[i], len) && name[len] == '.')
			return true;
	}
	return false;
}

/* Append "/NAME", of which `len` bytes are given and `end` is the rest. */
static int append(char *path, size_t size, size_t *used, const char *name, size_t len,
		  const char *end)
{
	char part[PS_UNIT_NAME + 8];
	int more;

	snprintf(part, sizeof(part), "%.*s%s", (int)len, name, end);
	more = snprintf(path + *used, size - *used, "/%s%s", needs_mark(part) ? "_" : "", part);
	if (more < 0 || (size_t)more >= size - *used)
		return -E2BIG;
	*used += (size_t)more;
	return 0;
}

int ps_slice_path(const char *slice, char *path, size_t size)
{
	size_t len = strlen(slice), used = 0;
	int ret = 0;

	if (!size)
		return -E2BIG;
	*path = '\0';
	if (!strcmp(slice, "-.slice"))
		return 0;
	if (!ps_unit_is(slice, ".slice") || len >= PS_UNIT_NAME || slice[strspn(slice, VALID)])
		return -EINVAL;
	len -= strlen(".slice");
	if (*slice == '-' || *slice == '.' || slice[len - 1] == '-' || strstr(slice, "--"))
		return -EINVAL;
	for (size_t i = 1; i <= len && !ret; i++) {
		if (i == len || slice[i] == '-')
			ret = append(path, size, &used, slice, i, ".slice");
	}
	return ret;
}

int ps_unit_usual_slice(const char *unit, char slice[PS_UNIT_NAME])
{
	const char *at = strchr(unit, '@');
	char prefix[PS_UNIT_NAME], escaped[PS_UNIT_NAME];
	int ret;

	if (!at) {
		strcpy(slice, !strcmp(unit, "init.scope") ? "-.slice" : "system.slice");
		return 0;
	}
	snprintf(prefix, sizeof(prefix), "%.*s", (int)(at - unit), unit);
	ret = ps_unit_escape(prefix, escaped, sizeof(escaped));
	if (ret)
		return ret;
	return snprintf(slice, PS_UNIT_NAME, "system-%s.slice", escaped) < PS_UNIT_NAME ? 0 :
											  -E2BIG;
}

int ps_unit_path(const char *unit, const char *slice, char *path, size_t size)
{
	size_t used;
	int ret;

	if (ps_unit_is(unit, ".slice"))
		return ps_slice_path(unit, path, size);
	ret = ps_slice_path(slice, path, size);
	if (ret)
		return ret;
	used = strlen(path);
	return append(path, size, &used, unit, strlen(unit), "");
}

/* What a specifier stands for: 0 if only systemd knows. */
static const char *specifier(char letter, const char *unit, int *len)
{
	const char *at = strchr(unit, '@'), *dot = strrchr(unit, '.');
	const char *end = at ? at : dot, *from = unit;

	*len = (int)(end - unit);
	switch (letter) {
	case '%':
		*len = 1;
		return "%";
	case 'n':
		*len = (int)strlen(unit);
		return unit;
	case 'N':
		*len = (int)(dot - unit);
		return unit;
	case 'p':
		return unit;
	case 'j':
		while (end > from && end[-1] != '-')
			end--;
		*len -= (int)(end - unit);
		return end;
	case 'i':
		*len = at ? (int)(dot - at) - 1 : 0;
		return at ? at + 1 : "";
	default:
		return NULL;
	}
}

/* Expand the value of Slice=. 1; 0 for no slice's name, which systemd ignores. */
static int expand(const char *value, size_t size, const char *unit, char slice[PS_UNIT_NAME])
{
	char name[PS_UNIT_NAME], path[16];
	size_t used = 0;

	for (size_t i = 0; i < size; i++) {
		const char *part = value + i;
		int len = 1;

		if (*part == '%' && ++i < size)
			part = specifier(value[i], unit, &len);
		if (!part)
			return -ENOTSUP;
		if (used + (size_t)len >= sizeof(name))
			return 0;
		memcpy(name + used, part, (size_t)len);
		used += (size_t)len;
	}
	name[used] = '\0';
	if (memchr(name, '\0', used) || ps_slice_path(name, path, sizeof(path)) == -EINVAL)
		return 0;
	strcpy(slice, name);
	return 1;
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\f' || c == '\v';
}

static void trim(const char **line, size_t *len)
{
	while (*len && is_blank(**line)) {
		++*line;
		--*len;
	}
	while (*len && is_blank((*line)[*len - 1]))
		--*len;
}

/* The value of a line "Slice = VALUE". */
static bool is_slice_key(const char **line, size_t *len)
{
	static const char key[] = "Slice";
	const char *rest = *line;
	size_t left = *len;

	if (left < sizeof(key) || memcmp(rest, key, sizeof(key) - 1))
		return false;
	rest += sizeof(key) - 1;
	left -= sizeof(key) - 1;
	trim(&rest, &left);
	if (!left || *rest != '=')
		return false;
	*line = rest + 1;
	*len = left - 1;
	trim(line, len);
	return true;
}

/* The last one counts. A line that goes on (with '\' at its end) is none of Slice=, but may
 * hide one. */
int ps_unit_file_slice(const char *text, size_t size, const char *unit, char slice[PS_UNIT_NAME])
{
	const struct kind *kind = kind_of(unit);
	const char *end = text + size, *next;
	bool inside = false, continued = false;
	int said = 0;

	for (; kind && kind->section && text < end; text = next) {
		const char *eol = memchr(text, '\n', (size_t)(end - text)), *line = text;
		size_t len = (size_t)((eol ? eol : end) - text);
		bool goes_on = len && line[len - 1] == '\\', hidden = continued;
		int ret;

		next = eol ? eol + 1 : end;
		trim(&line, &len);
		/* A comment does not end the line that goes on around it. */
		if (len && (*line == '#' || *line == ';'))
			continue;
		continued = goes_on;
		if (hidden || !len)
			continue;
		if (*line == '[')
			inside = len == strlen(kind->section) && !memcmp(line, kind->section, len);
		if (!inside || !is_slice_key(&line, &len))
			continue;
		ret = expand(line, len, unit, slice);
		if (ret)
			said = ret;
	}
	return said;
}
