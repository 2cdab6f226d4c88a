// SPDX-License-Identifier: Apache-2.0
/* top.c: the verb top: the model of top_model.c on a full screen, looked at again and again. */
#include <curses.h>
#include <poll.h>
#include <signal.h>

#include "cli/cli.h"
#include "cli/human.h"
#include "cli/term.h"
#include "cli/top_model.h"
#include "cli/verb.h"

#define FRAME_LINES 4 /* head, tabs, column titles, keys */
#define BAD_PAIR    1

struct top {
	struct client client;
	struct top_model model;
	struct skep_err trouble; /* why the last sample failed, "" when it did not */
	char host[128];
	int64_t lost;
	int64_t interval_ms;
	bool typing; /* the filter */
	bool quit;
};

static volatile sig_atomic_t interrupted;

static void on_interrupt(int sig)
{
	(void)sig;
	interrupted = 1;
}

/* ---- samples ------------------------------------------------------------------------------ */

static int sample_status(struct top *t, struct skep_err *err)
{
	cleanup(buf_done) struct buf answer = {0};
	int rc = client_call(&t->client, "GET", "/v1/status", NULL, &answer, err);
	const char *name;
	json_t *root;

	if (rc)
		return rc;
	root = json_loadb(answer.data, answer.len, 0, NULL);
	name = json_string_value(json_object_get(json_object_get(root, "host"), "name"));
	snprintf(t->host, sizeof(t->host), "%s", name ? name : "");
	t->lost = json_integer_value(json_object_get(root, "lost"));
	json_decref(root);
	return 0;
}

static int sample(struct top *t, struct skep_err *err)
{
	struct rows rows[TOP_PANES] = {0};
	enum top_pane p;
	int rc = sample_status(t, err);

	for (p = 0; !rc && p < TOP_PANES; p++)
		rc = rows_query(&t->client, top_sql[p], ROWS_MAX, &rows[p], err);
	if (!rc)
		return top_model_update(&t->model, rows, human_now());
	for (p = 0; p < TOP_PANES; p++)
		rows_done(&rows[p]);
	return rc;
}

/* ---- screen ------------------------------------------------------------------------------- */

static size_t page_lines(void)
{
	return LINES > FRAME_LINES ? (size_t)(LINES - FRAME_LINES) : 1;
}

/* One line of the screen, cut to its width. */
static void put_line(int y, attr_t attributes, const char *s, size_t n)
{
	cleanup(buf_done) struct buf b = {0};
	unsigned used = term_add(&b, s, n, (unsigned)COLS);

	if (!buf_ok(&b) || y >= LINES)
		return;
	if (attributes & A_REVERSE)
		buf_fmt(&b, "%*s", COLS - (int)used, "");
	attrset(attributes);
	move(y, 0);
	addnstr(b.data ? b.data : "", (int)b.len);
	attrset(A_NORMAL);
	if (!(attributes & A_REVERSE))
		clrtoeol();
}

static attr_t bad(void)
{
	return A_BOLD | (has_colors() ? COLOR_PAIR(BAD_PAIR) : 0);
}

static void draw_head(const struct top *t)
{
	struct human now, rate;
	char line[512], lost[64] = "";

	if (t->lost)
		snprintf(lost, sizeof(lost), "  %lld events lost", (long long)t->lost);
	snprintf(line, sizeof(line),
		 "skep top  %s  %.8s%s  %zu processes  %zu connections  %s/s sent", t->host,
		 human_clock(&now, t->model.now), lost, t->model.n[TOP_PROCESSES],
		 t->model.n[TOP_CONNECTIONS], human_bytes(&rate, (int64_t)t->model.rate));
	put_line(0, t->lost ? bad() : A_BOLD, line, strlen(line));
}

static void draw_tabs(const struct top *t)
{
	static const char *const names[] = {" Processes ", " Connections "};
	enum top_pane p;

	move(1, 0);
	clrtoeol();
	for (p = 0; p < TOP_PANES; p++) {
		attrset(p == t->model.pane ? A_REVERSE : A_DIM);
		addstr(names[p]);
		attrset(A_NORMAL);
		addch(' ');
	}
	if (t->model.filter[0] && !t->typing)
		printw(" only what holds \"%s\": %zu", t->model.filter,
		       t->model.state[t->model.pane].shown);
}

static void draw_lines(struct top *t)
{
	size_t page = page_lines(), first = top_model_first(&t->model, page), n, row = 0;
	cleanup(table_done) struct table *table = NULL;
	cleanup(buf_done) struct buf b = {0};
	size_t selected = t->model.state[t->model.pane].selected - first + 1;
	const char *at;

	if (top_model_table(&t->model, first, page, &table) ||
	    table_print(table, (unsigned)COLS, false, &b))
		return;
	for (at = b.data; *at && row <= page; at += n + 1, row++) {
		n = strcspn(at, "\n");
		put_line((int)row + 2,
			 !row		   ? A_BOLD | A_UNDERLINE
			 : row == selected ? A_REVERSE
					   : A_NORMAL,
			 at, n);
	}
	for (; row <= page; row++)
		put_line((int)row + 2, A_NORMAL, "", 0);
}

static void draw_foot(const struct top *t)
{
	static const char keys[] =
		"q quit  Tab other pane  / filter  < > sort by  r reverse  ↑↓ PgUp PgDn Home End";
	char line[600];

	if (t->typing)
		snprintf(line, sizeof(line), "filter: %s_  (Enter keeps it, Esc drops it)",
			 t->model.filter);
	else
		snprintf(line, sizeof(line), "%s", t->trouble.text[0] ? t->trouble.text : keys);
	put_line(LINES - 1, t->trouble.text[0] && !t->typing ? bad() : A_DIM, line, strlen(line));
}

static void draw(struct top *t)
{
	draw_head(t);
	draw_tabs(t);
	draw_lines(t);
	draw_foot(t);
	refresh();
}

/* ---- keys --------------------------------------------------------------------------------- */

static void type(struct top *t, int key)
{
	char filter[TOP_FILTER_MAX];
	size_t n = strlen(t->model.filter);

	memcpy(filter, t->model.filter, sizeof(filter));
	if (key == '\n' || key == KEY_ENTER) {
		t->typing = false;
	} else if (key == 27) {
		t->typing = false;
		filter[0] = '\0';
	} else if (key == KEY_BACKSPACE || key == 127 || key == 8) {
		while (n && (filter[--n] & 0xc0) == 0x80)
			;
		filter[n] = '\0';
	} else if (key >= ' ' && key < 256 && n + 1 < sizeof(filter)) {
		filter[n] = (char)key;
		filter[n + 1] = '\0';
	}
	top_model_filter(&t->model, filter);
}

static void press(struct top *t, int key)
{
	static const struct {
		int key;
		enum top_key meaning;
	} keys[] = {
		{KEY_UP, TOP_KEY_UP},	       {'k', TOP_KEY_UP},
		{KEY_DOWN, TOP_KEY_DOWN},      {'j', TOP_KEY_DOWN},
		{KEY_PPAGE, TOP_KEY_PAGE_UP},  {KEY_NPAGE, TOP_KEY_PAGE_DOWN},
		{' ', TOP_KEY_PAGE_DOWN},      {KEY_HOME, TOP_KEY_HOME},
		{KEY_END, TOP_KEY_END},	       {'\t', TOP_KEY_PANE},
		{KEY_LEFT, TOP_KEY_SORT_BACK}, {'<', TOP_KEY_SORT_BACK},
		{KEY_RIGHT, TOP_KEY_SORT},     {'>', TOP_KEY_SORT},
		{'r', TOP_KEY_REVERSE},
	};
	size_t i;

	if (t->typing && key != KEY_RESIZE) {
		type(t, key);
		return;
	}
	t->quit = key == 'q';
	t->typing = key == '/';
	if (key == 27)
		top_model_filter(&t->model, "");
	for (i = 0; i < array_size(keys); i++)
		if (keys[i].key == key)
			top_model_key(&t->model, keys[i].meaning, page_lines());
}

/* Wait for a key or the time; a terminal that is gone ends it. */
static void wait_keys(struct top *t, int64_t until)
{
	struct pollfd in = {.fd = STDIN_FILENO, .events = POLLIN};
	int64_t left = (until - human_now()) / 1000000;
	int n = poll(&in, 1, left > 0 ? (int)left : 0), key = getch();

	if (n > 0 && (key == ERR || in.revents & (POLLHUP | POLLERR | POLLNVAL)))
		t->quit = true;
	for (; key != ERR && !t->quit; key = getch())
		press(t, key);
}

static void loop(struct top *t)
{
	int64_t next = human_now();

	while (!t->quit && !interrupted) {
		if (human_now() >= next) {
			t->trouble.text[0] = '\0';
			sample(t, &t->trouble);
			next = human_now() + t->interval_ms * 1000000;
		}
		draw(t);
		wait_keys(t, next);
	}
}

static int screen_begin(SCREEN **out, struct skep_err *err)
{
	const char *name = getenv("TERM");

	if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO))
		return skep_fail(err, -ENOTTY,
				 "top needs a terminal; `skep ps` and `skep conns` do not");
	signal(SIGINT, on_interrupt);
	signal(SIGTERM, on_interrupt);
	*out = newterm(name, stdout, stdin);
	if (!*out || !tigetstr("cup")) {
		if (*out)
			endwin();
		return skep_fail(err, -ENOTTY,
				 "top needs a terminal that can move its cursor: TERM is '%s'",
				 name ? name : "");
	}
	cbreak();
	noecho();
	keypad(stdscr, TRUE);
	nodelay(stdscr, TRUE);
	set_escdelay(50);
	curs_set(0);
	if (term_look().colour && has_colors() && !start_color() && !use_default_colors())
		init_pair(BAD_PAIR, COLOR_RED, -1);
	return 0;
}

static int top(const struct args *a, struct skep_err *err)
{
	int64_t seconds = a->set[OPTION_INTERVAL] ? a->num[OPTION_INTERVAL] : 1;
	struct top t = {.client = cli_client(a), .interval_ms = min(seconds, 86400) * 1000};
	SCREEN *screen = NULL;
	int rc;

	t.client.timeout_ms = 3000;
	top_model_init(&t.model);
	rc = sample(&t, err);
	if (!rc)
		rc = screen_begin(&screen, err);
	if (!rc) {
		loop(&t);
		endwin();
		delscreen(screen);
	}
	top_model_done(&t.model);
	return rc;
}

const struct verb verb_top = {
	.name = "top",
	.doc = "processes and connections, live on the full screen",
	.text = "Two panes, Processes and Connections; Tab changes between them. Rates are bytes a "
		"second between two looks; a process has the sum of its connections.\n\n"
		"Keys: q quits, Tab changes the pane, / filters and Esc drops the filter, < and > "
		"(or the left and right arrows) choose the column to sort by, r reverses, arrows, "
		"PgUp, PgDn, Home and End move.",
	.options = {OPTION_INTERVAL, OPTION_SOCKET},
	.examples =
		{
			{"skep top", "what happens here, every second"},
			{"skep top --interval 5", "calmer"},
		},
	.run = top,
};
