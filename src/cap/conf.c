// SPDX-License-Identifier: Apache-2.0
/*
 * YAML into structs, straight from libfyaml's events: no document is built, so what a file costs is
 * bounded by the table it is read by. A mapping deeper or wider than the table is a mistake at once;
 * anchors, aliases and tags are refused, so nothing can multiply; text that is no UTF-8 is refused
 * before libfyaml sees it (0.7.12 reads it as an empty scalar).
 */
#include "cap/conf.h"

#include <ctype.h>
#include <inttypes.h>
#include <libfyaml.h>
#include <stdarg.h>

#include "base/text.h"

#define API_VERSION "skep/v1"
#define FIELDS_MAX  64

/* What stands around a spec; the spec itself follows at HEAD_SIZE. */
struct head {
	int api;
	int kind;
	char name[254];
};

#define HEAD_SIZE ((sizeof(struct head) + 15) & ~(size_t)15)

struct reader {
	const char *file;
	struct fy_parser *parser;
	struct fy_diag *diag;
	struct fy_event *event;
	struct fy_mark at; /* of the event, or of the last one that had a place */
	char path[256];	   /* spec.guard.ring */
	struct skep_err *err;
};

/* ---- values -------------------------------------------------------------------------------- */

static bool int_parse(const char *s, size_t n, int64_t *out)
{
	char text[24], *end;

	if (!n || n >= sizeof(text) || !(isdigit((unsigned char)s[0]) || (s[0] == '-' && n > 1)))
		return false;
	memcpy(text, s, n);
	text[n] = '\0';
	errno = 0;
	*out = strtoll(text, &end, 10);
	return !errno && end == text + n;
}

/* Index of the word among "a|b|c", or -1. */
static int choice_find(const char *choices, const char *s, size_t n)
{
	const char *p = choices;
	int i;

	for (i = 0; p; i++) {
		const char *bar = strchr(p, '|');
		size_t len = bar ? (size_t)(bar - p) : strlen(p);

		if (len == n && !memcmp(p, s, n))
			return i;
		p = bar ? bar + 1 : NULL;
	}
	return -1;
}

static bool text_plain(const char *s, size_t n)
{
	unsigned len;
	size_t i;

	for (i = 0; i < n; i += len) {
		len = text_utf8(s + i, n - i);
		if (!len)
			return false;
	}
	return true;
}

/* Stores a scalar; false where it is not what the field expects. @plain: it stood without quotes. */
static bool value_set(const struct conf_field *f, const char *s, size_t n, bool plain, void *out)
{
	int64_t v;
	int i;

	switch (f->type) {
	case CONF_INT:
		if (!plain || !int_parse(s, n, &v) || v < f->least || v > f->most)
			return false;
		memcpy(out, &v, sizeof(v));
		return true;
	case CONF_BOOL:
		i = choice_find("false|true", s, n);
		if (!plain || i < 0)
			return false;
		*(bool *)out = i;
		return true;
	case CONF_ENUM:
		i = choice_find(f->choices, s, n);
		if (i < 0)
			return false;
		memcpy(out, &i, sizeof(i));
		return true;
	case CONF_STR:
		if ((plain && !n) || n < (size_t)f->least || n >= (size_t)f->most ||
		    !text_plain(s, n))
			return false;
		memset(out, 0, (size_t)f->most); /* equal texts are equal bytes */
		memcpy(out, s, n);
		return true;
	case CONF_READ:
		return f->read(s, n, out);
	default:
		return false;
	}
}

static void choices_add(struct buf *b, const char *choices)
{
	const char *p;

	for (p = choices; *p; p++) {
		if (*p == '|')
			buf_str(b, strchr(p + 1, '|') ? ", " : " or ");
		else
			buf_chr(b, *p);
	}
}

static void expected_add(struct buf *b, const struct conf_field *f)
{
	switch (f->type) {
	case CONF_INT:
		buf_fmt(b, "%" PRId64 "..%" PRId64, f->least, f->most);
		break;
	case CONF_BOOL:
		buf_str(b, "true or false");
		break;
	case CONF_ENUM:
		choices_add(b, f->choices);
		break;
	case CONF_STR:
		buf_fmt(b, "text of %" PRId64 " to %" PRId64 " bytes", f->least, f->most - 1);
		break;
	case CONF_PART:
		buf_str(b, "a mapping");
		break;
	case CONF_READ:
		buf_str(b, f->choices);
		break;
	case CONF_LIST:
		buf_fmt(b, "a list of %" PRId64 " to %" PRId64, f->least, f->most);
		break;
	}
}

/* A preset stands as in YAML: the only quotes that tables use are those of "". */
static void preset_set(const struct conf_field *f, void *out)
{
	bool quotes = f->preset[0] == '"';
	size_t n = strlen(f->preset);
	bool ok = value_set(f, f->preset + quotes, n - 2 * quotes, !quotes, out);

	assert(ok);
	(void)ok;
}

void conf_defaults(const struct conf_field *fields, unsigned n, void *out)
{
	unsigned i;

	for (i = 0; i < n; i++) {
		void *at = (char *)out + fields[i].offset;

		if (fields[i].type == CONF_PART)
			conf_defaults(fields[i].sub, fields[i].n_sub, at);
		else if (fields[i].type == CONF_LIST)
			*(uint32_t *)((char *)out + fields[i].count) = 0;
		else if (fields[i].preset)
			preset_set(&fields[i], at);
	}
}

/* ---- mistakes ------------------------------------------------------------------------------ */

static int fail(struct reader *r, const char *fmt, ...) printf_like(2, 3);

static int fail(struct reader *r, const char *fmt, ...)
{
	char text[384];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	return skep_fail(r->err, -EINVAL, "%s:%d:%d: %s%s%s", r->file, r->at.line + 1,
			 r->at.column + 1, r->path, r->path[0] ? ": " : "", text);
}

/* What stands in the file instead, short and harmless. */
static void found_add(struct buf *b, const struct fy_event *e)
{
	const char *s;
	char text[64];
	size_t n = 0;

	if (e->type == FYET_MAPPING_START) {
		buf_str(b, "a mapping");
	} else if (e->type == FYET_SEQUENCE_START) {
		buf_str(b, "a list");
	} else {
		s = fy_token_get_text(e->scalar.value, &n);
		text_escape(text, sizeof(text), s, min(n, (size_t)40));
		if (n)
			buf_fmt(b, "'%s%s'", text, n > 40 ? "..." : "");
		else
			buf_str(b, "nothing");
	}
}

static int fail_value(struct reader *r, const struct conf_field *f)
{
	cleanup(buf_done) struct buf b = {0};

	buf_str(&b, "expected ");
	expected_add(&b, f);
	buf_str(&b, ", found ");
	found_add(&b, r->event);
	if (r->event->type == FYET_SCALAR && (f->type == CONF_INT || f->type == CONF_BOOL) &&
	    fy_token_scalar_style(r->event->scalar.value) != FYSS_PLAIN)
		buf_str(&b, " in quotes");
	return fail(r, "%s", buf_ok(&b) ? b.data : "out of memory");
}

/* What libfyaml has to say where it stopped. */
static int fail_syntax(struct reader *r)
{
	struct fy_diag_error *e;
	void *it = NULL;

	r->path[0] = '\0';
	e = fy_diag_errors_iterate(r->diag, &it);
	if (!e)
		return fail(r, "this is no YAML");
	r->at.line = e->line - 1;
	r->at.column = e->column - 1;
	return fail(r, "%s", e->msg);
}

/* Changes needed to make one word of the other, letters' case aside. */
static unsigned distance(const char *a, size_t na, const char *b, size_t nb)
{
	unsigned row[FIELDS_MAX + 1];
	size_t i, j;

	for (j = 0; j <= nb; j++)
		row[j] = (unsigned)j;
	for (i = 1; i <= na; i++) {
		unsigned diagonal = row[0];

		row[0] = (unsigned)i;
		for (j = 1; j <= nb; j++) {
			bool same = tolower((unsigned char)a[i - 1]) ==
				    tolower((unsigned char)b[j - 1]);
			unsigned up = row[j], one_more = min(up, row[j - 1]) + 1;

			row[j] = min(one_more, diagonal + !same);
			diagonal = up;
		}
	}
	return row[nb];
}

static const char *nearest(const struct conf_field *fields, unsigned n, const char *key, size_t len)
{
	const char *best = NULL;
	unsigned i, d, least = (unsigned)len / 3 + 1;

	for (i = 0; i < n && len <= FIELDS_MAX; i++) {
		d = distance(key, len, fields[i].key, strlen(fields[i].key));
		if (d <= least) {
			least = d;
			best = fields[i].key;
		}
	}
	return best;
}

static int fail_key(struct reader *r, const struct conf_field *fields, unsigned n, const char *key,
		    size_t len)
{
	const char *best = nearest(fields, n, key, len);
	cleanup(buf_done) struct buf b = {0};
	char text[64];
	unsigned i;

	text_escape(text, sizeof(text), key, min(len, (size_t)40));
	if (best)
		return fail(r, "unknown key '%s', did you mean '%s'?", text, best);
	for (i = 0; i < n; i++)
		buf_fmt(&b, "%s%s", i ? ", " : "", fields[i].key);
	return fail(r, "unknown key '%s', expected one of %s", text, b.data ? b.data : "none");
}

/* ---- reading ------------------------------------------------------------------------------- */

static int refuse(struct reader *r)
{
	struct fy_event *e = r->event;
	bool scalar = e->type == FYET_SCALAR, map = e->type == FYET_MAPPING_START;
	bool list = e->type == FYET_SEQUENCE_START;

	if (e->type == FYET_ALIAS || (scalar && e->scalar.anchor) ||
	    (map && e->mapping_start.anchor) || (list && e->sequence_start.anchor))
		return fail(r, "anchors and aliases (& and *) are not supported");
	if ((scalar && e->scalar.tag) || (map && e->mapping_start.tag) ||
	    (list && e->sequence_start.tag))
		return fail(r, "tags (!) are not supported");
	return 0;
}

static bool quoted(const struct fy_event *e)
{
	enum fy_scalar_style style = fy_token_scalar_style(e->scalar.value);

	return style == FYSS_SINGLE_QUOTED || style == FYSS_DOUBLE_QUOTED;
}

static int next(struct reader *r)
{
	const struct fy_mark *mark;

	fy_parser_event_free(r->parser, r->event);
	r->event = fy_parser_parse(r->parser);
	if (!r->event)
		return fail_syntax(r);
	mark = fy_event_start_mark(r->event);
	if (mark) {
		r->at = *mark;
		r->at.column -= r->event->type == FYET_SCALAR && quoted(r->event);
	}
	return refuse(r);
}

static int mapping_read(struct reader *r, const struct conf_field *fields, unsigned n, void *out);
static int list_read(struct reader *r, const struct conf_field *f, void *base);

static int value_read(struct reader *r, const struct conf_field *f, void *out)
{
	const char *s;
	size_t n = 0;
	bool plain;

	if (f->type == CONF_PART && r->event->type == FYET_MAPPING_START)
		return mapping_read(r, f->sub, f->n_sub, out);
	if (f->type == CONF_PART || r->event->type != FYET_SCALAR)
		return fail_value(r, f);
	s = fy_token_get_text(r->event->scalar.value, &n);
	plain = fy_token_scalar_style(r->event->scalar.value) == FYSS_PLAIN;
	return value_set(f, s ? s : "", n, plain, out) ? 0 : fail_value(r, f);
}

static int element_read(struct reader *r, const struct conf_field *f, void *out)
{
	if (!f->sub[0].key)
		return value_read(r, &f->sub[0], out);
	if (r->event->type != FYET_MAPPING_START)
		return fail(r, "expected a mapping");
	conf_defaults(f->sub, f->n_sub, out);
	return mapping_read(r, f->sub, f->n_sub, out);
}

/* The event is the list's beginning. */
static int list_read(struct reader *r, const struct conf_field *f, void *base)
{
	uint32_t *count = (uint32_t *)((char *)base + f->count);
	size_t path = strlen(r->path);
	struct fy_mark begin = r->at;
	int rc;

	if (r->event->type != FYET_SEQUENCE_START)
		return fail_value(r, f);
	for (*count = 0;; ++*count) {
		rc = next(r);
		if (rc || r->event->type == FYET_SEQUENCE_END)
			break;
		if (*count == f->most)
			return fail(r, "expected at most %" PRId64 " elements", f->most);
		snprintf(r->path + path, sizeof(r->path) - path, "[%u]", *count);
		rc = element_read(r, f, (char *)base + f->offset + *count * f->size);
		if (rc)
			return rc;
		r->path[path] = '\0';
	}
	if (!rc && *count < f->least) {
		r->at = begin;
		rc = fail(r, "expected at least %" PRId64 " elements, found %u", f->least, *count);
	}
	return rc;
}

/* Fields that must be given and were not; @seen has a bit for each that was. */
static int missing(struct reader *r, const struct conf_field *fields, unsigned n, uint64_t seen)
{
	cleanup(buf_done) struct buf b = {0};
	unsigned i;
	int rc = 0;

	for (i = 0; i < n && !rc; i++) {
		if (seen >> i & 1)
			continue;
		if (fields[i].type == CONF_PART) {
			rc = missing(r, fields[i].sub, fields[i].n_sub, 0);
		} else if (!fields[i].preset) {
			expected_add(&b, &fields[i]);
			rc = fail(r, "'%s' is missing, expected %s", fields[i].key,
				  b.data ? b.data : "a value");
		}
	}
	return rc;
}

/* One key and its value; the event is the key. */
static int pair_read(struct reader *r, const struct conf_field *fields, unsigned n, uint64_t *seen,
		     void *out)
{
	size_t len = 0, base = strlen(r->path);
	const char *key;
	unsigned i;
	int rc;

	if (r->event->type != FYET_SCALAR)
		return fail(r, "expected a key, found a %s",
			    r->event->type == FYET_MAPPING_START ? "mapping" : "list");
	key = fy_token_get_text(r->event->scalar.value, &len);
	for (i = 0; i < n; i++)
		if (strlen(fields[i].key) == len && !memcmp(fields[i].key, key, len))
			break;
	if (i == n)
		return fail_key(r, fields, n, key ? key : "", len);
	if (*seen >> i & 1)
		return fail(r, "key '%s' stands twice", fields[i].key);
	*seen |= 1ULL << i;
	snprintf(r->path + base, sizeof(r->path) - base, "%s%s", base ? "." : "", fields[i].key);
	rc = next(r);
	if (!rc)
		rc = fields[i].type == CONF_LIST
			     ? list_read(r, &fields[i], out)
			     : value_read(r, &fields[i], (char *)out + fields[i].offset);
	if (!rc)
		r->path[base] = '\0';
	return rc;
}

static int mapping_read(struct reader *r, const struct conf_field *fields, unsigned n, void *out)
{
	struct fy_mark begin = r->at;
	uint64_t seen = 0;
	int rc;

	assert(n <= FIELDS_MAX);
	for (;;) {
		rc = next(r);
		if (rc)
			return rc;
		if (r->event->type == FYET_MAPPING_END)
			break;
		rc = pair_read(r, fields, n, &seen, out);
		if (rc)
			return rc;
	}
	r->at = begin;
	return missing(r, fields, n, seen);
}

static int expect(struct reader *r, enum fy_event_type type, const char *what)
{
	int rc = next(r);

	return rc || r->event->type == type ? rc : fail(r, "expected %s", what);
}

/* What a stream is read by: one document into @all, or any number of them, each given to @fn. */
struct stream {
	const struct conf_field *top;
	unsigned n_top;
	char *all;
	const struct conf_field *fields;
	unsigned n;
	conf_each_fn fn;
	void *arg;
};

static int document_read(struct reader *r, const struct stream *s)
{
	struct fy_mark begin;
	int rc;

	rc = expect(r, FYET_MAPPING_START, "a mapping with apiVersion, kind and spec");
	begin = r->at;
	if (!rc)
		rc = mapping_read(r, s->top, s->n_top, s->all);
	if (!rc)
		rc = expect(r, FYET_DOCUMENT_END, "the end of the document");
	if (rc || !s->fn)
		return rc;
	rc = s->fn(s->arg, ((struct head *)s->all)->name, s->all + HEAD_SIZE, r->err);
	if (rc)
		return skep_note(r->err, rc, "%s:%d:%d", r->file, begin.line + 1, begin.column + 1);
	memset(s->all, 0, HEAD_SIZE);
	conf_defaults(s->fields, s->n, s->all + HEAD_SIZE);
	return 0;
}

static int stream_read(struct reader *r, const struct stream *s)
{
	int rc = expect(r, FYET_STREAM_START, "YAML");

	if (!rc && !s->fn) {
		rc = expect(r, FYET_DOCUMENT_START, "a resource, found an empty file");
		if (!rc)
			rc = document_read(r, s);
		return rc ? rc : expect(r, FYET_STREAM_END, "one document, found a second one");
	}
	while (!rc) {
		rc = next(r);
		if (rc || r->event->type == FYET_STREAM_END)
			break;
		rc = r->event->type == FYET_DOCUMENT_START ? document_read(r, s)
							   : fail(r, "expected a resource");
	}
	return rc;
}

/* Bytes that are no UTF-8 text, at their line and column. */
static int text_check(struct reader *r, const char *text, size_t len)
{
	size_t i = 0, line = 0;
	unsigned n;

	if (len >= 3 && !memcmp(text, "\xef\xbb\xbf", 3))
		i = 3;
	while (i < len) {
		if (text[i] == '\n' || text[i] == '\r' || text[i] == '\t') {
			if (text[i++] != '\t') {
				r->at.line += text[i - 1] == '\n';
				line = i;
			}
			continue;
		}
		n = text_utf8(text + i, len - i);
		r->at.column = (int)(i - line);
		if (!n)
			return fail(r, "expected UTF-8 text, found byte 0x%02x",
				    (unsigned char)text[i]);
		i += n;
	}
	r->at = (struct fy_mark){0};
	return 0;
}

static int reader_run(struct reader *r, const char *text, size_t len, const struct stream *s)
{
	struct fy_parse_cfg cfg = {
		.flags = FYPCF_QUIET | FYPCF_COLLECT_DIAG | FYPCF_DEFAULT_VERSION_1_2 |
			 FYPCF_JSON_NONE,
	};
	struct fy_diag_cfg diag;
	int rc;

	fy_diag_cfg_default(&diag);
	diag.fp = NULL;
	diag.level = FYET_ERROR;
	r->diag = fy_diag_create(&diag);
	if (!r->diag)
		return skep_fail(r->err, -ENOMEM, "%s: out of memory", r->file);
	fy_diag_set_collect_errors(r->diag, true);
	cfg.diag = r->diag;
	r->parser = fy_parser_create(&cfg);
	if (r->parser && !fy_parser_set_string(r->parser, text, len))
		rc = stream_read(r, s);
	else
		rc = skep_fail(r->err, -ENOMEM, "%s: out of memory", r->file);
	if (r->parser) {
		fy_parser_event_free(r->parser, r->event);
		fy_parser_destroy(r->parser);
	}
	fy_diag_destroy(r->diag);
	return rc;
}

static int parse(const char *name, const char *text, size_t len, size_t most, const char *kind,
		 struct stream *s, size_t size, struct skep_err *err)
{
	const struct conf_field metadata[] = {
		{.key = "name", .type = CONF_STR, .offset = 0, .most = 254, .preset = "\"\""},
	};
	const struct conf_field top[] = {
		{.key = "apiVersion",
		 .type = CONF_ENUM,
		 .offset = offsetof(struct head, api),
		 .choices = API_VERSION},
		{.key = "kind",
		 .type = CONF_ENUM,
		 .offset = offsetof(struct head, kind),
		 .choices = kind},
		{.key = "metadata",
		 .type = CONF_PART,
		 .offset = offsetof(struct head, name),
		 .sub = metadata,
		 .n_sub = array_size(metadata)},
		{.key = "spec",
		 .type = CONF_PART,
		 .offset = HEAD_SIZE,
		 .sub = s->fields,
		 .n_sub = s->n},
	};
	struct reader r = {.file = name, .err = err};
	int rc;

	if (len > most)
		return skep_fail(err, -EINVAL, "%s: expected at most %zu bytes, found %zu", name,
				 most, len);
	s->all = calloc(1, HEAD_SIZE + size);
	if (!s->all)
		return skep_fail(err, -ENOMEM, "%s: out of memory", name);
	s->top = top;
	s->n_top = array_size(top);
	conf_defaults(s->fields, s->n, s->all + HEAD_SIZE);
	rc = text_check(&r, text, len);
	return rc ? rc : reader_run(&r, text, len, s);
}

int conf_parse(const char *name, const char *text, size_t len, const char *kind,
	       const struct conf_field *fields, unsigned n, void *out, size_t size,
	       struct skep_err *err)
{
	struct stream s = {.fields = fields, .n = n};
	int rc = parse(name, text, len, CONF_INPUT_MAX, kind, &s, size, err);

	if (!rc)
		memcpy(out, s.all + HEAD_SIZE, size);
	free(s.all);
	return rc;
}

int conf_parse_each(const char *name, const char *text, size_t len, const char *kind,
		    const struct conf_field *fields, unsigned n, size_t size, conf_each_fn fn,
		    void *arg, struct skep_err *err)
{
	struct stream s = {.fields = fields, .n = n, .fn = fn, .arg = arg};
	int rc = parse(name, text, len, CONF_MANY_MAX, kind, &s, size, err);

	free(s.all);
	return rc;
}

/* ---- reference ----------------------------------------------------------------------------- */

static void fields_print(const struct conf_field *fields, unsigned n, unsigned depth, struct buf *b)
{
	const struct conf_field *f;

	for (f = fields; f < fields + n; f++) {
		buf_fmt(b, "%*s# %s", (int)depth * 2, "", f->doc ? f->doc : f->key);
		if (f->type == CONF_INT || f->type == CONF_ENUM) {
			buf_str(b, " (");
			expected_add(b, f);
			buf_str(b, ")");
		}
		buf_fmt(b, "\n%*s", (int)depth * 2, "");
		if (f->type == CONF_PART) {
			buf_fmt(b, "%s:%s\n", f->key, f->n_sub ? "" : " {}");
			fields_print(f->sub, f->n_sub, depth + 1, b);
		} else if (f->preset) {
			buf_fmt(b, "%s: %s\n", f->key, f->preset);
		} else {
			buf_fmt(b, "# %s: required\n", f->key);
		}
	}
}

void conf_print(const char *kind, const struct conf_field *fields, unsigned n, struct buf *b)
{
	buf_fmt(b, "apiVersion: " API_VERSION "\nkind: %s\nmetadata:\n  name: default\nspec:%s\n",
		kind, n ? "" : " {}");
	fields_print(fields, n, 1, b);
}
