// SPDX-License-Identifier: Apache-2.0
#include "cli/top_model.h"

#include "cli/human.h"

#define SECOND 1000000000LL

/* Columns of the answers, in the order of top_sql; both begin alike. */
enum field {
	PID,
	STARTED,
	TIME,
	SERVICE,
	USER,
	COMM,
	COMMAND,
	PROCESS_FIELDS,

	DIRECTION = SERVICE + 1,
	PEER,
	PORT,
	STATE,
	SENT,
	RECEIVED,
	RTT,
	COOKIE,
	CONNECTION_FIELDS,
};

const char *const top_sql[TOP_PANES] = {
	[TOP_PROCESSES] = "select pid, started, time, service, uid, comm, "
			  "substr(coalesce(argv, '[' || comm || ']'), 1, 512) "
			  "from process where ended is null",
	[TOP_CONNECTIONS] =
		"select pid, started, time, service, "
		"case direction when 'in' then '←' else '→' end, "
		"coalesce(remote_service, remote_name, remote_addr), "
		"case direction when 'in' then local_port else remote_port end || '/' || proto, "
		"state, bytes_sent, bytes_received, rtt_us, cookie "
		"from connection where ended is null",
};

static const size_t fields[TOP_PANES] = {PROCESS_FIELDS, CONNECTION_FIELDS};

struct top_line {
	uint64_t id;
	int64_t pid, started, time, number; /* number: user id, or RTT in us */
	const char *text[4];		    /* service; comm, command; or direction, peer, port */
	const char *state;
	int64_t sent, received;
	double sent_rate, received_rate; /* bytes a second */
	unsigned connections;
};

enum form { FORM_TEXT, FORM_NUMBER, FORM_USER, FORM_BYTES, FORM_RATE, FORM_AGE, FORM_US };

struct column {
	struct table_column layout;
	enum form form;
	uint8_t text; /* of FORM_TEXT: which */
	double (*number)(const struct top_line *l);
};

static double get_pid(const struct top_line *l)
{
	return (double)l->pid;
}

static double get_number(const struct top_line *l)
{
	return (double)l->number;
}

static double get_connections(const struct top_line *l)
{
	return l->connections;
}

static double get_rate(const struct top_line *l)
{
	return l->sent_rate + l->received_rate;
}

static double get_sent_rate(const struct top_line *l)
{
	return l->sent_rate;
}

static double get_received_rate(const struct top_line *l)
{
	return l->received_rate;
}

static double get_sent(const struct top_line *l)
{
	return (double)l->sent;
}

static double get_received(const struct top_line *l)
{
	return (double)l->received;
}

/* Negative, so that the largest is the oldest. */
static double get_age(const struct top_line *l)
{
	return -(double)l->time;
}

/* clang-format off */
static const struct column process_columns[] = {
	{ { "PID", .right = true, .least = 7 }, FORM_NUMBER, .number = get_pid },
	{ { "USER", .least = 8, .drop = 3 }, FORM_USER, .number = get_number },
	{ { "SERVICE", .flex = true, .least = 12, .drop = 2 }, FORM_TEXT, 0 },
	{ { "COMM", .flex = true, .least = 10, .drop = 4 }, FORM_TEXT, 1 },
	{ { "CONNS", .right = true }, FORM_NUMBER, .number = get_connections },
	{ { "BYTES/S", .right = true, .least = 10 }, FORM_RATE, .number = get_rate },
	{ { "AGE", .right = true, .least = 6 }, FORM_AGE, .number = get_age },
	{ { "COMMAND", .flex = true, .floor = 24 }, FORM_TEXT, 2 },
};

static const struct column connection_columns[] = {
	{ { "PID", .right = true, .least = 7 }, FORM_NUMBER, .number = get_pid },
	{ { "SERVICE", .flex = true, .least = 12 }, FORM_TEXT, 0 },
	{ { "" }, FORM_TEXT, 1 },
	{ { "PEER", .flex = true, .least = 12, .floor = 16 }, FORM_TEXT, 2 },
	{ { "PORT", .least = 9 }, FORM_TEXT, 3 },
	{ { "STATE", .flex = true, .least = 11, .drop = 4 }, FORM_TEXT, 4 },
	{ { "SENT/S", .right = true, .least = 10 }, FORM_RATE, .number = get_sent_rate },
	{ { "RECV/S", .right = true, .least = 10 }, FORM_RATE, .number = get_received_rate },
	{ { "SENT", .right = true, .least = 10, .drop = 5 }, FORM_BYTES, .number = get_sent },
	{ { "RECEIVED", .right = true, .least = 10, .drop = 5 }, FORM_BYTES, .number = get_received },
	{ { "RTT", .right = true, .least = 6, .drop = 3 }, FORM_US, .number = get_number },
	{ { "AGE", .right = true, .least = 6, .drop = 1 }, FORM_AGE, .number = get_age },
};
/* clang-format on */

static const struct {
	const struct column *columns;
	unsigned n;
	unsigned sort;
} panes[TOP_PANES] = {
	{process_columns, array_size(process_columns), 5},
	{connection_columns, array_size(connection_columns), 7},
};

static const char *line_text(const struct top_line *l, unsigned which)
{
	return which == 4 ? l->state : l->text[which];
}

/* ---- samples ------------------------------------------------------------------------------ */

void top_model_init(struct top_model *m)
{
	enum top_pane p;

	memset(m, 0, sizeof(*m));
	for (p = 0; p < TOP_PANES; p++) {
		m->state[p].sort = panes[p].sort;
		m->state[p].largest = true;
	}
}

static void drop_pane(struct top_model *m, enum top_pane p)
{
	rows_done(&m->rows[p]);
	free(m->lines[p]);
	free(m->state[p].order);
	m->lines[p] = NULL;
	m->state[p].order = NULL;
	m->state[p].shown = m->n[p] = 0;
}

void top_model_done(struct top_model *m)
{
	enum top_pane p;

	for (p = 0; p < TOP_PANES; p++)
		drop_pane(m, p);
}

static int64_t number_at(const struct rows *r, size_t row, size_t column)
{
	return json_integer_value(rows_get(r, row, column));
}

static const char *text_at(const struct rows *r, size_t row, size_t column)
{
	const char *s = json_string_value(rows_get(r, row, column));

	return s ? s : "-";
}

static uint64_t mix(uint64_t h, uint64_t v)
{
	h = (h ^ v) * 0x9e3779b97f4a7c15ULL;
	return h ^ h >> 29;
}

static uint64_t mix_text(uint64_t h, const char *s)
{
	for (; *s; s++)
		h = mix(h, (unsigned char)*s);
	return h;
}

static void read_line(const struct rows *r, enum top_pane pane, size_t row, struct top_line *l)
{
	memset(l, 0, sizeof(*l));
	l->pid = number_at(r, row, PID);
	l->started = number_at(r, row, STARTED);
	l->time = number_at(r, row, TIME);
	l->text[0] = text_at(r, row, SERVICE);
	l->id = mix(mix(1, (uint64_t)l->pid), (uint64_t)l->started);
	if (pane == TOP_PROCESSES) {
		l->number = number_at(r, row, USER);
		l->text[1] = text_at(r, row, COMM);
		l->text[2] = text_at(r, row, COMMAND);
		return;
	}
	l->text[1] = text_at(r, row, DIRECTION);
	l->text[2] = text_at(r, row, PEER);
	l->text[3] = text_at(r, row, PORT);
	l->state = text_at(r, row, STATE);
	l->sent = number_at(r, row, SENT);
	l->received = number_at(r, row, RECEIVED);
	l->number = number_at(r, row, RTT);
	l->id = mix(mix(2, (uint64_t)number_at(r, row, COOKIE)), (uint64_t)l->time);
	l->id = mix_text(mix_text(mix_text(l->id, l->text[1]), l->text[2]), l->text[3]);
}

static int compare_ids(const void *a, const void *b)
{
	uint64_t x = ((const struct top_line *)a)->id, y = ((const struct top_line *)b)->id;

	return x < y ? -1 : x > y;
}

static double rate_of(int64_t before, int64_t now, double seconds)
{
	return now > before ? (double)(now - before) / seconds : 0;
}

/* A connection that is new since the last sample began with nothing sent. */
static void rate_lines(const struct top_model *m, struct top_line *lines, size_t n, int64_t now)
{
	double seconds = (double)(now - m->now) / (double)SECOND;
	const struct top_line *old;
	size_t i;

	if (!m->sampled || seconds <= 0)
		return;
	for (i = 0; i < n; i++) {
		old = m->n[TOP_CONNECTIONS]
			      ? bsearch(&lines[i], m->lines[TOP_CONNECTIONS], m->n[TOP_CONNECTIONS],
					sizeof(*lines), compare_ids)
			      : NULL;
		if (!old && lines[i].time < m->now)
			continue;
		lines[i].sent_rate = rate_of(old ? old->sent : 0, lines[i].sent, seconds);
		lines[i].received_rate =
			rate_of(old ? old->received : 0, lines[i].received, seconds);
	}
}

/* Each process gets the sum of its connections. */
static void sum_lines(struct top_model *m)
{
	struct top_line *processes = m->lines[TOP_PROCESSES], *p;
	const struct top_line *c;
	struct top_line key;
	size_t i;

	m->rate = 0;
	for (i = 0; i < m->n[TOP_CONNECTIONS]; i++) {
		c = &m->lines[TOP_CONNECTIONS][i];
		m->rate += c->sent_rate;
		key.id = mix(mix(1, (uint64_t)c->pid), (uint64_t)c->started);
		p = m->n[TOP_PROCESSES] ? bsearch(&key, processes, m->n[TOP_PROCESSES], sizeof(key),
						  compare_ids)
					: NULL;
		if (!p)
			continue;
		p->connections++;
		p->sent_rate += c->sent_rate;
		p->received_rate += c->received_rate;
	}
}

static int load_pane(struct top_model *m, enum top_pane pane, struct rows *r, int64_t now)
{
	size_t n = rows_count(r), i;
	cleanup(mem_free) struct top_line *lines = calloc(n + 1, sizeof(*lines));
	cleanup(mem_free) size_t *order = calloc(n + 1, sizeof(*order));

	if (!lines || !order)
		return -ENOMEM;
	for (i = 0; i < n; i++)
		read_line(r, pane, i, &lines[i]);
	qsort(lines, n, sizeof(*lines), compare_ids);
	if (pane == TOP_CONNECTIONS)
		rate_lines(m, lines, n, now);
	drop_pane(m, pane);
	m->rows[pane] = *r;
	memset(r, 0, sizeof(*r));
	m->lines[pane] = take(lines);
	m->state[pane].order = take(order);
	m->n[pane] = n;
	return 0;
}

static void arrange(struct top_model *m, enum top_pane pane);

int top_model_update(struct top_model *m, struct rows rows[TOP_PANES], int64_t now)
{
	enum top_pane p;
	int rc = 0;

	for (p = 0; p < TOP_PANES; p++)
		if (json_array_size(rows[p].columns) != fields[p])
			rc = -EPROTO;
	for (p = 0; p < TOP_PANES; p++) {
		if (!rc)
			rc = load_pane(m, p, &rows[p], now);
		rows_done(&rows[p]);
	}
	if (rc)
		return rc;
	m->sampled = true;
	m->now = now;
	sum_lines(m);
	for (p = 0; p < TOP_PANES; p++)
		arrange(m, p);
	return 0;
}

/* ---- what is shown ------------------------------------------------------------------------ */

static const char *cell_text(const struct top_model *m, const struct top_line *l,
			     const struct column *c, struct human *h)
{
	double v = c->number ? c->number(l) : 0;

	switch (c->form) {
	case FORM_TEXT:
		return line_text(l, c->text);
	case FORM_USER:
		return human_user(h, (int64_t)v);
	case FORM_BYTES:
		return human_bytes(h, (int64_t)v);
	case FORM_RATE:
		return v < 1 ? "-" : human_bytes(h, (int64_t)v);
	case FORM_AGE:
		return human_span(h, m->now - l->time);
	case FORM_US:
		return v < 1 ? "-" : human_span(h, (int64_t)v * 1000);
	default:
		snprintf(h->text, sizeof(h->text), "%.0f", v);
		return h->text;
	}
}

static bool matches(const struct top_model *m, enum top_pane pane, const struct top_line *l)
{
	struct human h;
	unsigned c;

	if (!m->filter[0])
		return true;
	for (c = 0; c < panes[pane].n; c++)
		if (strcasestr(cell_text(m, l, &panes[pane].columns[c], &h), m->filter))
			return true;
	return false;
}

struct sorter {
	const struct top_line *lines;
	const struct column *column;
	bool largest;
};

static int compare_lines(const void *a, const void *b, void *arg)
{
	const struct sorter *s = arg;
	const struct top_line *x = &s->lines[*(const size_t *)a];
	const struct top_line *y = &s->lines[*(const size_t *)b];
	double v, w;
	int order;

	if (s->column->form == FORM_TEXT) {
		order = strcmp(line_text(x, s->column->text), line_text(y, s->column->text));
	} else {
		v = s->column->number(x);
		w = s->column->number(y);
		order = v < w ? -1 : v > w;
	}
	if (!order)
		return x->pid < y->pid ? -1 : x->pid > y->pid ? 1 : compare_ids(x, y);
	return s->largest ? -order : order;
}

/* The selected line stays selected wherever it went; where it is gone, the place stays. */
static void reselect(struct top_state *s, const struct top_line *lines)
{
	size_t i;

	for (i = 0; i < s->shown; i++)
		if (lines[s->order[i]].id == s->selected_id)
			s->selected = i;
	if (s->selected >= s->shown)
		s->selected = s->shown ? s->shown - 1 : 0;
	s->selected_id = s->shown ? lines[s->order[s->selected]].id : 0;
}

static void arrange(struct top_model *m, enum top_pane pane)
{
	struct top_state *s = &m->state[pane];
	struct sorter sorter = {m->lines[pane], &panes[pane].columns[s->sort], s->largest};
	size_t i;

	snprintf(s->title, sizeof(s->title), "%s%s", sorter.column->layout.title,
		 s->largest ? "▼" : "▲");
	s->shown = 0;
	for (i = 0; i < m->n[pane]; i++)
		if (matches(m, pane, &m->lines[pane][i]))
			s->order[s->shown++] = i;
	if (s->shown)
		qsort_r(s->order, s->shown, sizeof(*s->order), compare_lines, &sorter);
	reselect(s, m->lines[pane]);
}

void top_model_filter(struct top_model *m, const char *text)
{
	enum top_pane p;

	snprintf(m->filter, sizeof(m->filter), "%s", text);
	for (p = 0; p < TOP_PANES; p++)
		arrange(m, p);
}

static void move_to(struct top_model *m, size_t position)
{
	struct top_state *s = &m->state[m->pane];

	if (!s->shown)
		return;
	s->selected = min(position, s->shown - 1);
	s->selected_id = m->lines[m->pane][s->order[s->selected]].id;
}

static void sort_by(struct top_model *m, unsigned column)
{
	struct top_state *s = &m->state[m->pane];

	s->sort = column % panes[m->pane].n;
	s->largest = panes[m->pane].columns[s->sort].layout.right;
	arrange(m, m->pane);
}

void top_model_key(struct top_model *m, enum top_key key, size_t page)
{
	struct top_state *s = &m->state[m->pane];
	size_t at = s->selected;

	switch (key) {
	case TOP_KEY_UP:
		return move_to(m, at ? at - 1 : 0);
	case TOP_KEY_DOWN:
		return move_to(m, at + 1);
	case TOP_KEY_PAGE_UP:
		return move_to(m, at > page ? at - page : 0);
	case TOP_KEY_PAGE_DOWN:
		return move_to(m, at + page);
	case TOP_KEY_HOME:
		return move_to(m, 0);
	case TOP_KEY_END:
		return move_to(m, s->shown);
	case TOP_KEY_SORT:
		return sort_by(m, s->sort + 1);
	case TOP_KEY_SORT_BACK:
		return sort_by(m, s->sort + panes[m->pane].n - 1);
	case TOP_KEY_REVERSE:
		s->largest = !s->largest;
		return arrange(m, m->pane);
	case TOP_KEY_PANE:
		m->pane = m->pane == TOP_PROCESSES ? TOP_CONNECTIONS : TOP_PROCESSES;
		return;
	}
}

size_t top_model_first(const struct top_model *m, size_t page)
{
	size_t at = m->state[m->pane].selected;

	return page ? at / page * page : at;
}

int top_model_table(const struct top_model *m, size_t first, size_t page, struct table **out)
{
	const struct column *columns = panes[m->pane].columns;
	const struct top_state *s = &m->state[m->pane];
	struct table_column layout[TOP_COLUMNS_MAX];
	unsigned n = panes[m->pane].n, c;
	const char *text;
	struct human h;
	size_t i;
	int rc;

	for (c = 0; c < n; c++)
		layout[c] = columns[c].layout;
	layout[s->sort].title = s->title;
	layout[s->sort].drop = 0;
	rc = table_open(out, layout, n);
	for (i = first; !rc && i < s->shown && i < first + page; i++) {
		for (c = 0; c < n; c++) {
			text = cell_text(m, &m->lines[m->pane][s->order[i]], &columns[c], &h);
			table_cell(*out, TERM_PLAIN, text, strlen(text));
		}
	}
	return rc;
}
