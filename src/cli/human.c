// SPDX-License-Identifier: Apache-2.0
#include "cli/human.h"

#include <inttypes.h>
#include <pwd.h>
#include <time.h>

#define SECOND 1000000000LL

const char *human_bytes(struct human *h, int64_t bytes)
{
	static const char units[][4] = {"KiB", "MiB", "GiB", "TiB", "PiB"};
	double v = (double)bytes / 1024;
	size_t i = 0;

	if (bytes < 1024) {
		snprintf(h->text, sizeof(h->text), "%" PRId64 " B", bytes);
		return h->text;
	}
	while (v >= 1023.95 && i + 1 < array_size(units)) {
		v /= 1024;
		i++;
	}
	snprintf(h->text, sizeof(h->text), "%.1f %s", v, units[i]);
	return h->text;
}

/* Under a minute: one unit, with a decimal where it has one digit. */
static void span_short(struct human *h, int64_t ns)
{
	static const struct {
		int64_t ns;
		const char *unit;
	} units[] = {{SECOND, "s"}, {1000000, "ms"}, {1000, "µs"}, {1, "ns"}};
	size_t i = 0;
	double v;

	while (i + 1 < array_size(units) && ns < units[i].ns)
		i++;
	v = (double)ns / (double)units[i].ns;
	snprintf(h->text, sizeof(h->text), v < 9.95 && units[i].ns > 1 ? "%.1f%s" : "%.0f%s", v,
		 units[i].unit);
}

const char *human_span(struct human *h, int64_t ns)
{
	int64_t s = ns / SECOND;

	if (ns <= 0)
		snprintf(h->text, sizeof(h->text), "0s");
	else if (s < 60)
		span_short(h, ns);
	else if (s < 3600)
		snprintf(h->text, sizeof(h->text), "%" PRId64 "m%02" PRId64 "s", s / 60, s % 60);
	else if (s < 86400)
		snprintf(h->text, sizeof(h->text), "%" PRId64 "h%02" PRId64 "m", s / 3600,
			 s / 60 % 60);
	else
		snprintf(h->text, sizeof(h->text), "%" PRId64 "d%02" PRId64 "h", s / 86400,
			 s / 3600 % 24);
	return h->text;
}

static const char *local(struct human *h, int64_t ns, const char *format)
{
	int64_t below = ((ns % SECOND) + SECOND) % SECOND;
	time_t s = (time_t)((ns - below) / SECOND);
	struct tm tm;
	size_t n;

	if (!localtime_r(&s, &tm)) {
		snprintf(h->text, sizeof(h->text), "%" PRId64, ns);
		return h->text;
	}
	n = strftime(h->text, sizeof(h->text), format, &tm);
	snprintf(h->text + n, sizeof(h->text) - n, ".%03d", (int)(below / 1000000));
	return h->text;
}

const char *human_time(struct human *h, int64_t ns)
{
	return local(h, ns, "%Y-%m-%d %H:%M:%S");
}

const char *human_clock(struct human *h, int64_t ns)
{
	return local(h, ns, "%H:%M:%S");
}

const char *human_user(struct human *h, int64_t uid)
{
	static struct {
		bool set;
		int64_t uid;
		struct human name;
	} known[64];
	size_t i = (size_t)uid % array_size(known);
	const struct passwd *pw;

	if (!known[i].set || known[i].uid != uid) {
		pw = getpwuid((uid_t)uid);
		known[i].set = true;
		known[i].uid = uid;
		if (pw)
			snprintf(known[i].name.text, sizeof(h->text), "%s", pw->pw_name);
		else
			snprintf(known[i].name.text, sizeof(h->text), "%" PRId64, uid);
	}
	*h = known[i].name;
	return h->text;
}

int64_t human_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return ts.tv_sec * SECOND + ts.tv_nsec;
}
