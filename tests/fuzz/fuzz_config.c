// SPDX-License-Identifier: Apache-2.0
/* Any bytes as a configuration file: never a crash, and -EINVAL always comes with a reason. */
#include "balance/config.h"
#include "cap/conf.h"

struct part {
	bool flag;
	char text[16];
};

struct spec {
	int64_t number;
	int word;
	struct part part;
};

static const struct conf_field part_fields[] = {
	{.key = "flag", .type = CONF_BOOL, .offset = offsetof(struct part, flag), .preset = "true"},
	{.key = "text",
	 .type = CONF_STR,
	 .offset = offsetof(struct part, text),
	 .most = 16,
	 .preset = "\"\""},
};

static const struct conf_field fields[] = {
	{.key = "number",
	 .type = CONF_INT,
	 .offset = offsetof(struct spec, number),
	 .least = -5,
	 .most = 500,
	 .preset = "7"},
	{.key = "word",
	 .type = CONF_ENUM,
	 .offset = offsetof(struct spec, word),
	 .choices = "one|two",
	 .preset = "one"},
	{.key = "part",
	 .type = CONF_PART,
	 .offset = offsetof(struct spec, part),
	 .sub = part_fields,
	 .n_sub = array_size(part_fields)},
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
const char *__lsan_default_suppressions(void);

/* libfyaml 0.7.12 forgets a token's text where a flow mapping breaks off; it is not ours to mend. */
const char *__lsan_default_suppressions(void)
{
	return "leak:libfyaml.so\n";
}

/* The same bytes as Services, of skep and of Kubernetes. */
static void services(const uint8_t *data, size_t size)
{
	cleanup(buf_done) struct buf notes = {0};
	struct skep_err err = {0};
	struct config_set set = {0};

	if (!config_read("fuzz", (const char *)data, size, &set, &notes, &err))
		config_done(&set);
	else if (!err.text[0])
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct skep_err err = {0};
	struct spec spec;
	int rc;

	rc = conf_parse("fuzz", (const char *)data, size, "Agent", fields, array_size(fields),
			&spec, sizeof(spec), &err);
	if (rc && !err.text[0])
		abort();
	if (!rc && (spec.number < -5 || spec.number > 500 || strlen(spec.part.text) > 15))
		abort();
	services(data, size);
	return 0;
}
