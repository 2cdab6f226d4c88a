// SPDX-License-Identifier: Apache-2.0
#include "cli/rows.h"

void rows_done(struct rows *r)
{
	json_decref(r->root);
	memset(r, 0, sizeof(*r));
}

static bool shaped(const struct rows *r)
{
	size_t width = json_array_size(r->columns), i;
	const json_t *item;

	if (!json_is_array(r->columns) || !json_is_array(r->rows))
		return false;
	json_array_foreach(r->columns, i, item) if (!json_is_string(item)) return false;
	json_array_foreach(r->rows, i, item) if (!json_is_array(item) ||
						 json_array_size(item) != width) return false;
	return true;
}

int rows_parse(const struct buf *text, struct rows *out, struct skep_err *err)
{
	struct rows r = {0};
	json_error_t why;

	r.root = json_loadb(text->data ? text->data : "", text->len, 0, &why);
	if (!r.root)
		return skep_fail(err, -EPROTO, "the agent's answer is no JSON: %s at byte %d",
				 why.text, why.position);
	r.columns = json_object_get(r.root, "columns");
	r.rows = json_object_get(r.root, "rows");
	r.truncated = json_is_true(json_object_get(r.root, "truncated"));
	if (!shaped(&r)) {
		rows_done(&r);
		return skep_fail(err, -EPROTO, "the agent's answer is no table");
	}
	*out = r;
	return 0;
}

int rows_query(const struct client *c, const char *sql, int64_t limit, struct rows *out,
	       struct skep_err *err)
{
	cleanup(buf_done) struct buf body = {0}, answer = {0};
	int rc;

	buf_str(&body, "{\"sql\":");
	buf_json(&body, sql, strlen(sql));
	buf_fmt(&body, ",\"limit\":%lld}", (long long)limit);
	if (!buf_ok(&body))
		return -ENOMEM;
	rc = client_call(c, "POST", "/v1/query", body.data, &answer, err);
	return rc ? rc : rows_parse(&answer, out, err);
}

bool rows_numbers(const struct rows *r, size_t column)
{
	const json_t *row, *cell;
	bool any = false;
	size_t i;

	json_array_foreach(r->rows, i, row)
	{
		cell = json_array_get(row, column);
		if (!json_is_null(cell) && !json_is_number(cell))
			return false;
		any = any || json_is_number(cell);
	}
	return any;
}

static void value_json(struct buf *b, const json_t *v)
{
	if (json_is_string(v))
		buf_json(b, json_string_value(v), json_string_length(v));
	else if (json_is_integer(v))
		buf_i64(b, json_integer_value(v));
	else if (json_is_real(v))
		buf_fmt(b, "%.15g", json_real_value(v));
	else
		buf_str(b, json_is_true(v) ? "true" : json_is_false(v) ? "false" : "null");
}

void rows_json(const struct rows *r, size_t i, struct buf *b)
{
	const json_t *name, *v;
	bool first = true;
	size_t c;

	buf_chr(b, '{');
	json_array_foreach(r->columns, c, name)
	{
		v = rows_get(r, i, c);
		if (json_is_null(v))
			continue;
		if (!first)
			buf_chr(b, ',');
		first = false;
		buf_json(b, json_string_value(name), json_string_length(name));
		buf_chr(b, ':');
		value_json(b, v);
	}
	buf_str(b, "}\n");
}

static void value_csv(struct buf *b, const json_t *v)
{
	const char *s = json_string_value(v);

	if (json_is_null(v))
		return;
	if (!s) {
		value_json(b, v);
		return;
	}
	if (!strpbrk(s, ",\"\r\n")) {
		buf_str(b, s);
		return;
	}
	buf_chr(b, '"');
	for (; *s; s++) {
		if (*s == '"')
			buf_chr(b, '"');
		buf_chr(b, *s);
	}
	buf_chr(b, '"');
}

static void line_csv(struct buf *b, const json_t *cells)
{
	const json_t *v;
	size_t i;

	json_array_foreach(cells, i, v)
	{
		if (i)
			buf_chr(b, ',');
		value_csv(b, v);
	}
	buf_str(b, "\r\n");
}

void rows_csv(const struct rows *r, struct buf *b)
{
	const json_t *row;
	size_t i;

	line_csv(b, r->columns);
	json_array_foreach(r->rows, i, row) line_csv(b, row);
}
