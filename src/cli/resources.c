// SPDX-License-Identifier: Apache-2.0
#include "cli/resources.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

void resources_done(struct resources *r)
{
	size_t i;

	for (i = 0; i < r->n; i++)
		free(r->parts[i].name);
	free(r->parts);
	buf_done(&r->text);
}

static unsigned lines(const char *p, size_t n)
{
	unsigned count = 0;

	for (const char *end = p + n; (p = memchr(p, '\n', (size_t)(end - p))); p++)
		count++;
	return count;
}

static int read_all(int fd, struct buf *b)
{
	char part[65536];
	ssize_t n;

	while ((n = read(fd, part, sizeof(part))) > 0)
		buf_add(b, part, (size_t)n);
	if (n < 0)
		return -errno;
	buf_str(b, "");
	return buf_ok(b) ? 0 : -ENOMEM;
}

/* Whether the first line that says something begins a document. */
static bool begins_document(const struct buf *b)
{
	const char *p = b->data;

	if (!b->len)
		return true;
	while (*p == '#' || *p == '\n' || *p == '\r') {
		p += strcspn(p, "\n");
		p += *p == '\n';
	}
	return !strncmp(p, "---", 3) || !*p;
}

static int part_add(struct resources *r, const char *name)
{
	struct resources_part *more = reallocarray(r->parts, r->n + 1, sizeof(*more));

	if (!more)
		return -ENOMEM;
	r->parts = more;
	r->parts[r->n].name = strdup(name);
	r->parts[r->n].line = lines(r->text.data ? r->text.data : "", r->text.len);
	return r->parts[r->n++].name ? 0 : -ENOMEM;
}

static int file_add(struct resources *r, const char *path, struct skep_err *err)
{
	bool in = !strcmp(path, "-");
	cleanup(fd_close) int fd = in ? dup(STDIN_FILENO) : open(path, O_RDONLY | O_CLOEXEC);
	cleanup(buf_done) struct buf b = {0};
	int rc = fd < 0 ? -errno : read_all(fd, &b);

	if (rc)
		return skep_fail(err, rc, "%s: %s", path, strerror(-rc));
	if (r->text.len && r->text.data[r->text.len - 1] != '\n')
		buf_chr(&r->text, '\n');
	if (r->text.len && !begins_document(&b))
		buf_str(&r->text, "---\n");
	rc = part_add(r, in ? "standard input" : path);
	if (rc)
		return rc;
	buf_add(&r->text, b.data, b.len);
	return buf_ok(&r->text) ? 0 : -ENOMEM;
}

static int is_resources(const struct dirent *d)
{
	const char *dot = strrchr(d->d_name, '.');

	return d->d_name[0] != '.' && dot &&
	       (!strcmp(dot, ".yaml") || !strcmp(dot, ".yml") || !strcmp(dot, ".json"));
}

static int folder_add(struct resources *r, const char *path, struct skep_err *err)
{
	struct dirent **list = NULL;
	int n = scandir(path, &list, is_resources, alphasort), i, rc = 0;
	char name[4096];

	if (n < 0)
		return skep_fail(err, -errno, "%s: %s", path, strerror(errno));
	for (i = 0; i < n; i++) {
		snprintf(name, sizeof(name), "%s/%s", path, list[i]->d_name);
		if (!rc)
			rc = file_add(r, name, err);
		free(list[i]);
	}
	free(list);
	if (!n)
		return skep_fail(err, -ENOENT, "%s has no *.yaml, *.yml or *.json", path);
	return rc;
}

int resources_read(struct resources *r, const struct args *a, struct skep_err *err)
{
	const char *paths[ARGS_TEXTS_MAX];
	unsigned n = option_texts(a, OPTION_RESOURCES, paths), i;
	struct stat st;
	int rc = 0;

	for (i = 0; i < n && !rc; i++)
		rc = strcmp(paths[i], "-") && !stat(paths[i], &st) && S_ISDIR(st.st_mode)
			     ? folder_add(r, paths[i], err)
			     : file_add(r, paths[i], err);
	if (!rc)
		buf_str(&r->text, "");
	return rc || buf_ok(&r->text) ? rc : -ENOMEM;
}

void resources_place(const struct resources *r, struct skep_err *err)
{
	const size_t skip = strlen(RESOURCES_NAME ":");
	struct skep_err was = *err;
	const char *rest;
	unsigned line;
	size_t i = r->n;
	char *end;

	if (strncmp(was.text, RESOURCES_NAME ":", skip) != 0)
		return;
	rest = was.text + skip;
	line = (unsigned)strtoul(rest, &end, 10);
	if (end == rest) {
		skep_fail(err, 0, "%.400s", rest + (*rest == ' '));
		return;
	}
	while (i > 1 && r->parts[i - 1].line >= line)
		i--;
	if (i)
		skep_fail(err, 0, "%.200s:%u%.600s", r->parts[i - 1].name,
			  line - r->parts[i - 1].line, end);
}
