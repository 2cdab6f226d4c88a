// SPDX-License-Identifier: Apache-2.0
// As much SQL as the page's own questions need: select list|* from t where ... group by 1 order by x limit n.

const TOKEN = /\s*(?:('(?:[^']|'')*')|(\d+(?:\.\d+)?)|([a-z_]+)|(>=|<=|<>|[=<>(),*+]))/giy;

function tokens(sql) {
	const list = [];
	TOKEN.lastIndex = 0;
	while (TOKEN.lastIndex < sql.trimEnd().length) {
		const at = TOKEN.lastIndex;
		const m = TOKEN.exec(sql);
		if (!m) throw new Error(`unrecognized token: "${sql.slice(at).trim()[0]}"`);
		if (m[1]) list.push({ text: m[1].slice(1, -1).replaceAll("''", "'") });
		else if (m[2]) list.push({ number: Number(m[2]) });
		else list.push({ word: (m[3] ?? m[4]).toLowerCase() });
	}
	return list;
}

class Parser {
	constructor(sql) {
		this.list = tokens(sql);
		this.at = 0;
	}

	take(word) {
		if (this.list[this.at]?.word !== word) return false;
		this.at++;
		return true;
	}

	need(word) {
		if (!this.take(word))
			throw new Error(`near "${this.list[this.at]?.word ?? "end"}": syntax error`);
	}

	word() {
		const { word } = this.list[this.at++] ?? {};
		if (!word) throw new Error("incomplete input");
		return word;
	}

	value() {
		const t = this.list[this.at++] ?? {};
		if (t.text !== undefined) return () => t.text;
		if (t.number !== undefined) return () => t.number;
		if (!t.word) throw new Error("incomplete input");
		return (row) => row[t.word] ?? null;
	}

	sum() {
		const left = this.value();
		if (!this.take("+")) return left;
		const right = this.sum();
		return (row) => left(row) + right(row);
	}

	test() {
		if (this.take("(")) {
			const inner = this.any();
			this.need(")");
			return inner;
		}
		const left = this.value();
		if (this.take("is")) {
			const not = this.take("not");
			this.need("null");
			return (row) => (left(row) === null) !== not;
		}
		if (this.take("between")) {
			const low = this.value();
			this.need("and");
			const high = this.value();
			return (row) => left(row) >= low(row) && left(row) <= high(row);
		}
		if (this.take("in")) {
			this.need("(");
			const values = [];
			do values.push(this.value()());
			while (this.take(","));
			this.need(")");
			return (row) => values.includes(left(row));
		}
		const op = this.word();
		const right = this.value();
		return (row) =>
			op === "="
				? left(row) === right(row)
				: op === ">"
					? left(row) > right(row)
					: left(row) < right(row);
	}

	all() {
		const left = this.test();
		if (!this.take("and")) return left;
		const right = this.all();
		return (row) => left(row) && right(row);
	}

	any() {
		const left = this.all();
		if (!this.take("or")) return left;
		const right = this.any();
		return (row) => left(row) || right(row);
	}

	column() {
		const from = this.at;
		let name = this.list[from]?.word;
		let make;
		if (["count", "sum", "max", "avg"].includes(name) && this.list[from + 1]?.word === "(") {
			this.at += 2;
			const inner = this.take("*") ? () => 1 : this.sum();
			this.need(")");
			const add = (rows) => rows.reduce((n, row) => n + (inner(row) ?? 0), 0);
			make = {
				count: (rows) => rows.length,
				sum: add,
				avg: (rows) => add(rows) / rows.length,
				max: (rows) => rows.reduce((n, row) => Math.max(n, inner(row) ?? 0), 0),
			}[name];
		} else {
			const inner = this.sum();
			make = (rows) => inner(rows[0] ?? {});
		}
		if (this.take("as")) name = this.word();
		return { name, make };
	}
}

/** @param rows (table) => array of objects, or undefined */
export function run(sql, rows, schema) {
	if (!/^\s*select\b/i.test(sql)) throw new Error("only SELECT is allowed");
	const p = new Parser(sql.replace(/;\s*$/, ""));
	p.need("select");
	let columns = [];
	const star = p.take("*");
	if (!star)
		do columns.push(p.column());
		while (p.take(","));
	p.need("from");
	const table = p.word();
	const def = schema.tables.find((t) => t.name === table);
	if (!def) throw new Error(`no such table: ${table}`);
	if (star)
		columns = def.columns.map(({ name }) => ({ name, make: ([row]) => row[name] ?? null }));
	const where = p.take("where") ? p.any() : () => true;
	let groups = rows(table)
		.filter(where)
		.map((row) => [row]);
	if (p.take("group")) {
		p.need("by");
		const by = [];
		do by.push(p.list[p.at++].number - 1);
		while (p.take(","));
		const found = new Map();
		for (const [row] of groups) {
			const key = JSON.stringify(by.map((i) => columns[i].make([row])));
			if (!found.has(key)) found.set(key, []);
			found.get(key).push(row);
		}
		groups = [...found.values()];
	}
	let out = groups.map((g) => columns.map((c) => c.make(g) ?? null));
	if (p.take("order")) {
		p.need("by");
		const key = p.list[p.at++];
		const i =
			key.number !== undefined
				? key.number - 1
				: columns.findIndex((c) => c.name === key.word);
		if (i < 0) throw new Error(`no such column: ${key.word}`);
		while (p.take("+")) p.value();
		const sign = p.take("desc") ? -1 : 1;
		out.sort((a, b) => (a[i] < b[i] ? -sign : a[i] > b[i] ? sign : 0));
	}
	if (p.take("limit")) out = out.slice(0, p.list[p.at++].number);
	if (p.at < p.list.length) throw new Error(`near "${p.list[p.at].word}": syntax error`);
	return { columns: columns.map((c) => c.name), rows: out };
}
