/* SPDX-License-Identifier: Apache-2.0 */
/*
 * config.h: kind Agent: the agent's own settings, and a part for each capability.
 */
#ifndef SKEP_AGENT_CONFIG_H
#define SKEP_AGENT_CONFIG_H

#include "agent/agent.h"
#include "base/log.h"
#include "cap/cap.h"

#define AGENT_CAPS_MAX 8

struct agent_limits {
	int64_t processes;
	int64_t queries;
	int64_t query_seconds;
};

struct agent_spec {
	char listen[64]; /* "": none */
	char socket[104];
	char state_dir[1024];
	int log;       /* enum log_format */
	int log_level; /* index into error, warning, info, debug */
	bool sandbox;
	struct agent_limits limits;
};

struct agent_config;

/**
 * agent_config_read() - file and options together.
 *
 * Return: 0; -EINVAL with the place of the mistake, -ENOENT and others where the file cannot be read.
 */
int agent_config_read(struct agent_config **out, const struct agent_options *o,
		      struct skep_err *err);
void agent_config_free(struct agent_config *c);

const struct agent_spec *agent_config_spec(const struct agent_config *c);
/** agent_config_cap() - the spec of cap_all[@i], as its apply() wants it. */
const void *agent_config_cap(const struct agent_config *c, unsigned i);
enum log_level agent_config_level(const struct agent_config *c);

/**
 * agent_config_keep() - settings that only a restart can change stay as they are in @old.
 *
 * Return: whether one of them differed.
 */
bool agent_config_keep(struct agent_config *c, const struct agent_config *old);
/** agent_config_keep_cap() - the spec of cap_all[@i] stays as it is in @old. */
void agent_config_keep_cap(struct agent_config *c, const struct agent_config *old, unsigned i);

struct agent_addr {
	bool off;
	bool v6;
	uint16_t port; /* 0: any */
};

/** agent_listen_parse() - "127.0.0.1:7070", "[::1]:7070", "localhost:7070", "" or "off". */
int agent_listen_parse(const char *text, struct agent_addr *out, struct skep_err *err);

#endif
