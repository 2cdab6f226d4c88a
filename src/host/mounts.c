/* SPDX-License-Identifier: Apache-2.0 */
#include "host/inside.h"

/* mountinfo writes space, tab, newline and backslash as \ooo. */
static void unescape(char *s)
{
	char *to = s;

	while (*s) {
		if (s[0] == '\\' && strspn(s + 1, "01234567") >= 3) {
			*to++ = (char)((s[1] - '0') << 6 | (s[2] - '0') << 3 | (s[3] - '0'));
			s += 4;
		} else {
			*to++ = *s++;
		}
	}
	*to = '\0';
}

/* Splits "id parent dev root point options... - type source options". False where it is another. */
static bool is_cgroup2(char *line, char **root, char **point)
{
	char *type = strstr(line, " - "), *field[5], *rest = line;

	if (!type || strncmp(type + 3, "cgroup2 ", 8) != 0)
		return false;
	for (size_t i = 0; i < array_size(field); i++) {
		field[i] = strsep(&rest, " ");
		if (!rest)
			return false;
	}
	*root = field[3];
	*point = field[4];
	unescape(*point);
	return true;
}

int mounts_cgroup2(const char *mountinfo, char *dst)
{
	cleanup(file_close) FILE *f = fopen(mountinfo, "re");
	cleanup(mem_free) char *line = NULL;
	char *root, *point;
	size_t cap = 0;

	*dst = '\0';
	while (f && getline(&line, &cap, f) > 0) {
		bool whole;

		if (!is_cgroup2(line, &root, &point) || strlen(point) >= PATH_MAX)
			continue;
		whole = !strcmp(root, "/");
		if (whole || !*dst)
			strcpy(dst, point);
		if (whole)
			break;
	}
	return *dst ? 0 : -ENOENT;
}
