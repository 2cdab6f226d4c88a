// SPDX-License-Identifier: Apache-2.0
#include "base/log.h"

#include <stdarg.h>
#include <time.h>

#include "base/buf.h"

static enum log_format log_format;
static enum log_level log_max = LOG_LEVEL_INFO;

static const char *level_name(enum log_level level)
{
	return level <= LOG_LEVEL_ERROR	 ? "error"
	       : level == LOG_LEVEL_WARN ? "warning"
	       : level == LOG_LEVEL_INFO ? "info"
					 : "debug";
}

void log_init(enum log_format format, enum log_level level)
{
	log_format = format;
	log_max = level;
}

static void line_json(struct buf *line, enum log_level level, const char *text)
{
	struct timespec ts;
	char when[32];
	struct tm tm;

	clock_gettime(CLOCK_REALTIME, &ts);
	strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%S", gmtime_r(&ts.tv_sec, &tm));
	buf_fmt(line, "{\"time\":\"%s.%03ldZ\",\"level\":\"%s\",\"text\":", when,
		ts.tv_nsec / 1000000, level_name(level));
	buf_json(line, text, strlen(text));
	buf_str(line, "}\n");
}

static void line_text(struct buf *line, enum log_level level, const char *text)
{
	if (isatty(STDERR_FILENO))
		buf_str(line, "skep: ");
	else
		buf_fmt(line, "<%d>", level);
	if (level <= LOG_LEVEL_WARN)
		buf_fmt(line, "%s: ", level_name(level));
	buf_fmt(line, "%s\n", text);
}

void log_line(enum log_level level, const char *fmt, ...)
{
	cleanup(buf_done) struct buf line = {0};
	char text[1024];
	va_list ap;

	if (level > log_max)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (log_format == LOG_JSON)
		line_json(&line, level, text);
	else
		line_text(&line, level, text);
	if (buf_ok(&line) && write(STDERR_FILENO, line.data, line.len) < 0)
		return; /* nobody is listening; there is nowhere to say so */
}
