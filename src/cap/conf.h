/* SPDX-License-Identifier: Apache-2.0 */
/*
 * conf.h: YAML or JSON into checked C structs, with the place of every mistake.
 *
 * A resource kind or a part of one is an array of struct conf_field: one table gives parsing,
 * defaults, range checks, and the reference in docs and man page.
 */
#ifndef SKEP_CAP_CONF_H
#define SKEP_CAP_CONF_H

#include "base/base.h"
#include "base/buf.h"
#include "base/err.h"

enum conf_type {
	CONF_INT,  /* int64_t; least..most */
	CONF_BOOL, /* bool */
	CONF_STR,  /* char[most]; at least `least` bytes long */
	CONF_ENUM, /* int: index into choices, "a|b|c" */
	CONF_PART, /* a nested struct: sub, n_sub */
	CONF_READ, /* what @read makes of a scalar; choices: what it expects, in words */
	CONF_LIST, /* least..most elements in place, each of `size` bytes: mappings of sub, or, where
		      sub[0] has no key, scalars of sub[0]; their number, uint32_t, at `count` */
};

struct conf_field {
	const char *key;
	enum conf_type type;
	size_t offset;
	int64_t least, most;
	const char *preset; /* default as it would stand in YAML; NULL: required */
	const char *choices;
	const char *doc; /* one phrase with the unit */
	const struct conf_field *sub;
	unsigned n_sub;
	bool (*read)(const char *s, size_t n, void *out);
	size_t size, count;
};

#define CONF_INPUT_MAX (1U << 20)
#define CONF_MANY_MAX  (256U << 20)

/** conf_defaults() - fill @out with every field's preset. */
void conf_defaults(const struct conf_field *fields, unsigned n, void *out);

/**
 * conf_parse() - read one resource: apiVersion skep/v1, kind, metadata.name, spec by @fields.
 * @name: of the file, for messages
 *
 * Unknown keys, wrong types, values out of range and second documents are errors.
 *
 * Return: 0 or -EINVAL with "name:line:column: spec.guard.ring: expected 64..1048576, found 'x'".
 * @out is written only on success.
 */
int conf_parse(const char *name, const char *text, size_t len, const char *kind,
	       const struct conf_field *fields, unsigned n, void *out, size_t size,
	       struct skep_err *err);

/** Takes one resource. Return: 0, or -errno with a reason; the place is put before it. */
typedef int (*conf_each_fn)(void *arg, const char *name, const void *spec, struct skep_err *err);

/**
 * conf_parse_each() - as conf_parse(), of a file with any number of documents.
 * @fn: called for each with metadata.name and its spec, which is borrowed
 */
int conf_parse_each(const char *name, const char *text, size_t len, const char *kind,
		    const struct conf_field *fields, unsigned n, size_t size, conf_each_fn fn,
		    void *arg, struct skep_err *err);

/**
 * conf_diff() - a line "~ key: old -> new" for each scalar that differs; lists are the caller's.
 * @indent: blanks before it
 */
void conf_diff(const struct conf_field *fields, unsigned n, const void *from, const void *to,
	       unsigned indent, struct buf *b);

/** conf_print() - the reference: a YAML document of all defaults with the docs as comments. */
void conf_print(const char *kind, const struct conf_field *fields, unsigned n, struct buf *b);

#endif
