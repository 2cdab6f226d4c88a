// SPDX-License-Identifier: Apache-2.0
#include "cli/option.h"

#include "base/buf.h"
#include "cli/verb.h"
#include "cli/view.h"

const struct option_def option_defs[OPTION_COUNT] = {
#define OPTION(id, name, letter, type, arg, choices, doc) \
	[OPTION_##id] = {name, letter, OPTION_TYPE_##type, arg, choices, doc},
#include "cli/option.def"
#undef OPTION
};

bool option_chosen(const char *choices, const char *word, size_t n)
{
	size_t len;

	for (; choices && *choices; choices += len + (choices[len] == '|')) {
		len = strcspn(choices, "|");
		if (len == n && !memcmp(choices, word, n))
			return true;
	}
	return false;
}

/* Levenshtein's distance; words are short. */
static unsigned distance(const char *a, size_t n, const char *b)
{
	unsigned row[64], corner, above, step;
	size_t m = strlen(b), i, j;

	if (n >= array_size(row) || m >= array_size(row))
		return 64;
	for (j = 0; j <= m; j++)
		row[j] = (unsigned)j;
	for (i = 1; i <= n; i++) {
		corner = row[0];
		row[0] = (unsigned)i;
		for (j = 1; j <= m; j++) {
			above = row[j];
			step = min(above, row[j - 1]) + 1;
			row[j] = min(corner + (a[i - 1] != b[j - 1]), step);
			corner = above;
		}
	}
	return row[m];
}

void option_nearest(const char *choices, const char *word, char *out, size_t cap)
{
	size_t n = strlen(word), len;
	unsigned best = 3, d;

	out[0] = '\0';
	for (; choices && *choices; choices += len + (choices[len] == '|')) {
		len = strcspn(choices, "|");
		d = distance(choices, len, word);
		if (n > 1 && n < len && !memcmp(choices, word, n))
			d = 1;
		if (d < best && d < len) {
			best = d;
			snprintf(out, cap, "%.*s", (int)len, choices);
		}
	}
}

/* "no X 'word': did you mean 'y'?", or else what there is. */
static int unknown(struct skep_err *err, const char *what, const char *choices, const char *word)
{
	char near[64];

	option_nearest(choices, word, near, sizeof(near));
	if (near[0])
		return skep_fail(err, -EINVAL, "%s '%s': did you mean '%s'?", what, word, near);
	return skep_fail(err, -EINVAL, "%s '%s': expected %s", what, word, choices);
}

unsigned option_texts(const struct args *a, enum option_id id, const char *out[ARGS_TEXTS_MAX])
{
	unsigned n = 0, i;

	for (i = 0; i < a->n_texts; i++)
		if (a->texts[i].id == id)
			out[n++] = a->texts[i].text;
	return n;
}

static int check_choice(const char *name, const char *choices, const char *word, size_t n,
			struct skep_err *err)
{
	char what[64], text[64];

	if (option_chosen(choices, word, n))
		return 0;
	snprintf(what, sizeof(what), "--%s", name);
	snprintf(text, sizeof(text), "%.*s", (int)n, word);
	return unknown(err, what, choices, text);
}

static int check_choices(const struct option_def *def, const char *choices, const char *value,
			 struct skep_err *err)
{
	int rc = *value ? 0 : skep_fail(err, -EINVAL, "--%s is empty", def->name);
	size_t n;

	while (!rc && *value) {
		n = strcspn(value, ",");
		rc = check_choice(def->name, choices, value, n, err);
		value += n + (value[n] == ',');
	}
	return rc;
}

static int check_columns(const struct verb *verb, const struct option_def *def, const char *value,
			 struct skep_err *err)
{
	cleanup(buf_done) struct buf names = {0};

	view_names(verb->view, "|", &names);
	if (!buf_ok(&names))
		return -ENOMEM;
	if (def->type == OPTION_TYPE_COLUMNS)
		return check_choices(def, names.data, value, err);
	value += *value == '-';
	return check_choice(def->name, names.data, value, strlen(value), err);
}

static int check_number(const struct option_def *def, const char *value, int64_t *out,
			struct skep_err *err)
{
	char *end;

	errno = 0;
	*out = strtoll(value, &end, 10);
	if (errno || *end || end == value || *out < 1)
		return skep_fail(err, -EINVAL, "--%s '%s': expected a number of 1 or more",
				 def->name, value);
	return 0;
}

static int assign(struct args *a, enum option_id id, const char *value, struct skep_err *err)
{
	const struct option_def *def = &option_defs[id];

	a->set[id] = true;
	a->text[id] = value;
	switch (def->type) {
	case OPTION_TYPE_INT:
		return check_number(def, value, &a->num[id], err);
	case OPTION_TYPE_TEXTS:
	case OPTION_TYPE_FILES:
		if (a->n_texts == ARGS_TEXTS_MAX)
			return skep_fail(err, -E2BIG, "more than %u --%s", ARGS_TEXTS_MAX,
					 def->name);
		a->texts[a->n_texts].id = id;
		a->texts[a->n_texts++].text = value;
		return 0;
	case OPTION_TYPE_ENUM:
		return check_choice(def->name, def->choices, value, strlen(value), err);
	case OPTION_TYPE_LIST:
		return check_choices(def, def->choices, value, err);
	case OPTION_TYPE_COLUMN:
	case OPTION_TYPE_COLUMNS:
		return check_columns(a->verb, def, value, err);
	default:
		return 0;
	}
}

/* Where reading stands: the vector and the next word. */
struct reader {
	int argc;
	char *const *argv;
	int at;
};

static int argument(struct reader *r, const struct option_def *def, const char **value,
		    struct skep_err *err)
{
	if (r->at >= r->argc)
		return skep_fail(err, -EINVAL, "--%s needs %s", def->name, def->arg);
	*value = r->argv[r->at++];
	return 0;
}

static int read_long(struct args *a, struct reader *r, const char *word, struct skep_err *err)
{
	cleanup(buf_done) struct buf names = {0};
	const char *value = strchr(word, '=');
	size_t n = value ? (size_t)(value - word) : strlen(word);
	const struct option_def *def;
	char name[64];
	enum option_id id;
	int rc;

	verb_each_option(a->verb, id)
	{
		def = &option_defs[id];
		if (strlen(def->name) != n || memcmp(def->name, word, n)) {
			buf_fmt(&names, "%s--%s", names.len ? "|" : "", def->name);
			continue;
		}
		if (!def->arg)
			return value ? skep_fail(err, -EINVAL, "--%s takes no argument", def->name)
				     : assign(a, id, NULL, err);
		rc = value ? 0 : argument(r, def, &value, err);
		return rc ? rc : assign(a, id, value + (*value == '=' && value == word + n), err);
	}
	snprintf(name, sizeof(name), "--%.*s", (int)n, word);
	return buf_ok(&names) ? unknown(err, "no option", names.data, name) : -ENOMEM;
}

static bool letter_find(const struct verb *verb, char letter, enum option_id *out)
{
	enum option_id id;

	verb_each_option(verb, id)
	{
		if (option_defs[id].letter == letter) {
			*out = id;
			return true;
		}
	}
	return false;
}

static int read_letters(struct args *a, struct reader *r, const char *word, struct skep_err *err)
{
	const char *value;
	enum option_id id;
	int rc = 0;

	while (!rc && *word) {
		if (!letter_find(a->verb, *word, &id))
			return skep_fail(err, -EINVAL, "no option '-%c': see skep %s --help", *word,
					 a->verb->name);
		word++;
		if (!option_defs[id].arg) {
			rc = assign(a, id, NULL, err);
			continue;
		}
		value = word;
		rc = *word ? 0 : argument(r, &option_defs[id], &value, err);
		return rc ? rc : assign(a, id, value, err);
	}
	return rc;
}

static int check_operands(const struct args *a, struct skep_err *err)
{
	const struct verb_operand *o = &a->verb->operand;
	unsigned most = !o->name ? 0 : o->most ? o->most : 1;
	char what[64];

	if (a->n_operands > most)
		return skep_fail(err, -EINVAL, "'%s' is one word too many for skep %s",
				 a->operands[most], a->verb->name);
	if (o->name && o->required && !a->n_operands)
		return skep_fail(err, -EINVAL, "%s is missing: skep %s %s", o->name, a->verb->name,
				 o->choices ? o->choices : o->name);
	if (!a->n_operands || !o->choices ||
	    option_chosen(o->choices, a->operands[0], strlen(a->operands[0])))
		return 0;
	snprintf(what, sizeof(what), "no %s", o->name);
	return unknown(err, what, o->choices, a->operands[0]);
}

int option_parse(const struct verb *verb, int argc, char *const *argv, struct args *out,
		 struct skep_err *err)
{
	struct reader r = {argc, argv, 0};
	bool only_operands = false;
	const char *word;
	int rc = 0;

	memset(out, 0, sizeof(*out));
	out->verb = verb;
	while (!rc && r.at < argc && !out->set[OPTION_HELP] && !out->rest) {
		word = argv[r.at++];
		if (only_operands || word[0] != '-' || !word[1]) {
			if (out->n_operands < ARGS_OPERANDS_MAX)
				out->operands[out->n_operands++] = word;
			if (verb->operand.rest)
				out->rest = &argv[r.at - 1];
		} else if (!strcmp(word, "--")) {
			only_operands = true;
		} else if (word[1] == '-') {
			rc = read_long(out, &r, word + 2, err);
		} else {
			rc = read_letters(out, &r, word + 1, err);
		}
	}
	return rc || out->set[OPTION_HELP] ? rc : check_operands(out, err);
}
