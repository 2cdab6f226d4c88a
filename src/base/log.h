/* SPDX-License-Identifier: Apache-2.0 */
/*
 * log.h: lines on standard error, for the agent and the command only; libraries return errors.
 *
 * Text lines carry journald's "<N>" level prefix when standard error is no terminal
 * (sd-daemon(3)); LOG_JSON writes one object a line: time, level, text.
 */
#ifndef SKEP_BASE_LOG_H
#define SKEP_BASE_LOG_H

#include "base/base.h"

enum log_level { LOG_LEVEL_ERROR = 3, LOG_LEVEL_WARN = 4, LOG_LEVEL_INFO = 6, LOG_LEVEL_DEBUG = 7 };
enum log_format { LOG_TEXT, LOG_JSON };

void log_init(enum log_format format, enum log_level max);
void log_line(enum log_level level, const char *fmt, ...) printf_like(2, 3);

#define log_error(...) log_line(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warn(...)  log_line(LOG_LEVEL_WARN, __VA_ARGS__)
#define log_info(...)  log_line(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...) log_line(LOG_LEVEL_DEBUG, __VA_ARGS__)

#endif
