// SPDX-License-Identifier: Apache-2.0
// What holds for every agent, mock or real.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { agent, go, launch, onMap, until, visit } from "./browser.mjs";

let browser;
let target;
before(async () => {
	browser = await launch();
	target = await agent();
});
after(async () => {
	await browser?.close();
	await target?.close();
});

const rows = (page) => page.locator("tbody tr[role=row]");
const active = async (page) => {
	const id = await page
		.locator("table[aria-activedescendant]")
		.getAttribute("aria-activedescendant");
	return page.locator(`[id="${id}"]`);
};

test("the overview counts the host and shows its services on a map", () =>
	visit(browser, target.url, async (page) => {
		await until(
			() =>
				page
					.locator(".stat strong")
					.first()
					.textContent()
					.then((t) => Number(t.replace(/\D/g, "")) > 0),
			"processes running",
		);
		const shown = await onMap(page, (cy) => ({
			nodes: cy.nodes().length,
			edges: cy.edges().length,
			spread: new Set(cy.nodes().map((n) => `${n.position().x} ${n.position().y}`)).size,
		}));
		assert.ok(shown.nodes >= 2 && shown.edges >= 1, JSON.stringify(shown));
		assert.equal(shown.spread, shown.nodes, "two nodes stand on one place");
		await page.locator(".feed li").first().waitFor();
	}));

test("the token leaves the address bar", () =>
	visit(browser, target.url, async (page) => {
		await page.locator(".host strong").waitFor();
		assert.equal(new URL(page.url()).search, "");
	}));

test("every view has its heading, its place in the navigation and a title with the host's name", () =>
	visit(browser, target.url, async (page) => {
		const host = await page.locator(".host strong").textContent();
		for (const [hash, name] of [
			["#/", "Overview"],
			["#/processes", "Processes"],
			["#/connections", "Connections"],
			["#/dns", "DNS"],
			["#/balance", "Balance"],
			["#/sql", "SQL"],
			["#/status", "Status"],
		]) {
			await go(page, hash);
			await page.getByRole("heading", { level: 1, name }).waitFor({ state: "attached" });
			assert.equal(await page.locator("nav a[aria-current]").textContent(), name);
			await until(
				() => page.title().then((t) => t === `${name} · ${host} · skep`),
				`title of ${name}`,
			);
			await page.locator("main > *").nth(1).waitFor();
		}
	}));

test("the process tree begins with pid 1 or a root and has levels", () =>
	visit(browser, target.url, async (page) => {
		await go(page, "#/processes");
		await rows(page).first().waitFor();
		assert.equal(await rows(page).first().getAttribute("aria-level"), "1");
		assert.ok(await page.locator("tr[aria-level='2']").first().isVisible());
	}));

test("arrow keys walk the tree, close and open its branches", () =>
	visit(browser, target.url, async (page) => {
		await go(page, "#/processes");
		await page.locator("tr[aria-expanded=true]").first().waitFor();
		await page.getByRole("button", { name: "Pause" }).click();
		const tree = page.getByRole("treegrid");
		await tree.focus();
		await page.keyboard.press("Home");
		while ((await (await active(page)).getAttribute("aria-expanded")) !== "true")
			await page.keyboard.press("ArrowDown");
		const total = Number(await tree.getAttribute("aria-rowcount"));
		await page.keyboard.press("ArrowLeft");
		assert.equal(await (await active(page)).getAttribute("aria-expanded"), "false");
		await until(
			async () => Number(await tree.getAttribute("aria-rowcount")) < total,
			"fewer rows",
		);
		await page.keyboard.press("ArrowRight");
		assert.equal(await (await active(page)).getAttribute("aria-expanded"), "true");
		const level = Number(await (await active(page)).getAttribute("aria-level"));
		await page.keyboard.press("ArrowRight");
		assert.equal(Number(await (await active(page)).getAttribute("aria-level")), level + 1);
		if ((await (await active(page)).getAttribute("aria-expanded")) === "true")
			await page.keyboard.press("ArrowLeft"); // an open branch closes first
		await page.keyboard.press("ArrowLeft");
		assert.equal(Number(await (await active(page)).getAttribute("aria-level")), level);
		await page.keyboard.press("Enter");
		await page.locator("[data-test=panel]").waitFor();
		await page.keyboard.press("Escape");
		await page.locator("[data-test=panel]").waitFor({ state: "detached" });
	}));

test("a process opens with every field, capabilities by name", () =>
	visit(browser, target.url, async (page) => {
		await go(page, "#/processes");
		await rows(page).first().click();
		const panel = page.locator("[data-test=panel]");
		for (const field of ["pid", "started", "comm", "service"])
			await panel.locator("dt", { hasText: new RegExp(`^${field}$`) }).waitFor();
		await panel.locator("summary").click();
		assert.match(await panel.locator(".chips").textContent(), /chown/);
	}));

test("connections sort by a column, both ways", () =>
	visit(browser, target.url, async (page) => {
		await go(page, "#/connections");
		await page.getByRole("button", { name: "All" }).click();
		await rows(page).first().waitFor();
		await page.getByRole("button", { name: "Pause" }).click();
		const services = () => page.locator("tbody td:nth-child(4) b").allTextContents();
		const sort = page.locator("[data-sort=service]");
		await sort.click();
		assert.equal(await page.locator("th[aria-sort=ascending]").count(), 1);
		const up = (await services()).filter(Boolean);
		assert.deepEqual(
			up,
			[...up].sort((a, b) => (a < b ? -1 : a > b ? 1 : 0)),
		);
		await sort.click();
		assert.equal(await page.locator("th[aria-sort=descending]").count(), 1);
		const down = (await services()).filter(Boolean);
		assert.deepEqual(
			down,
			[...down].sort((a, b) => (a > b ? -1 : a < b ? 1 : 0)),
		);
	}));

test("the slash goes to the filter, and the filter narrows, excludes and clears", () =>
	visit(browser, target.url, async (page) => {
		await go(page, "#/processes");
		await rows(page).first().waitFor();
		const pid = await rows(page).nth(1).locator("td").nth(1).textContent();
		await page.keyboard.press("/");
		await page.keyboard.type(`pid:${pid}`);
		await until(
			() =>
				page
					.locator(".tally")
					.textContent()
					.then((t) => / of /.test(t)),
			"a tally of matches",
		);
		assert.ok(
			(await page.locator("tr:not(.dim)[role=row] td:nth-child(2)").allTextContents()).every(
				(t) => t.includes(pid),
			),
		);
		await page.locator("#filter").fill("no-such-thing-at-all");
		await page.getByText("No process matches the filter.").waitFor();
		await page.locator("#filter").press("Escape");
		await until(
			() =>
				page
					.locator(".tally")
					.textContent()
					.then((t) => !/ of /.test(t)),
			"everything back",
		);
	}));

test("a query answers with a table that sorts", () =>
	visit(browser, target.url, async (page) => {
		await go(page, "#/sql");
		await page
			.locator("#sql")
			.fill("select comm, count(*) as n from process group by 1 order by 2 desc");
		await page.locator("#sql").press("Control+Enter");
		await page.locator("[data-test=tally]").waitFor();
		await page.getByRole("button", { name: /^n/ }).click();
		const numbers = (await page.locator("tbody td:nth-child(2)").allTextContents())
			.map(Number)
			.filter((n) => n > 0);
		assert.ok(numbers.length > 0);
		assert.deepEqual(
			numbers,
			[...numbers].sort((a, b) => a - b),
		);
	}));

test("a wrong query says what is wrong, and the next right one clears it", () =>
	visit(
		browser,
		target.url,
		async (page) => {
			await go(page, "#/sql");
			await page.locator("#sql").fill("select * from nothing_of_the_kind");
			await page.getByRole("button", { name: "Run" }).click();
			const error = page.locator("[data-test=sql-error]");
			await error.waitFor();
			assert.match(await error.textContent(), /no such table/);
			await page.locator("#sql").fill("select pid from process limit 3");
			await page.getByRole("button", { name: "Run" }).click();
			await page.locator("[data-test=tally]").waitFor();
			assert.equal(await error.count(), 0);
		},
		{ allow: /status of 400/ },
	));

test("the schema browser inserts a name where the cursor is", () =>
	visit(browser, target.url, async (page) => {
		await go(page, "#/sql");
		await page.locator("#sql").fill("select pid, from process");
		await page.locator("#sql").evaluate((e) => e.setSelectionRange(11, 11));
		await page.locator(".schema summary", { hasText: "process" }).first().click();
		await page
			.locator(".schema li button", { hasText: /^argv / })
			.first()
			.click();
		assert.equal(await page.locator("#sql").inputValue(), "select pid, argv from process");
	}));

test("the status view names each capability, feature and table", () =>
	visit(browser, target.url, async (page) => {
		await go(page, "#/status");
		for (const name of ["guard", "trace"])
			await page.getByRole("heading", { name, exact: true }).waitFor();
		await page.getByRole("heading", { name: "Features of this kernel" }).waitFor();
		for (const table of ["process", "connection", "dns"])
			await page.getByRole("rowheader", { name: table, exact: true }).first().waitFor();
	}));

test("the first tab stop skips to the content", () =>
	visit(browser, target.url, async (page) => {
		await page.locator(".host strong").waitFor();
		await page.keyboard.press("Tab");
		assert.equal(
			await page.evaluate(() => document.activeElement.textContent),
			"Skip to content",
		);
		await page.keyboard.press("Enter");
		assert.equal(await page.evaluate(() => document.activeElement.id), "main");
	}));

test("dark comes from the system, and a choice outlives a reload", () =>
	visit(
		browser,
		target.url,
		async (page) => {
			await page.locator(".host strong").waitFor();
			const ground = () =>
				page.evaluate(
					() =>
						getComputedStyle(document.body)
							.backgroundColor.match(/\d+/g)
							.map(Number)[0],
				);
			assert.ok((await ground()) < 60, "dark by the system");
			await page.locator("[data-test=theme]").selectOption("light");
			assert.ok((await ground()) > 200, "light by choice");
			await page.reload();
			await page.locator(".host strong").waitFor();
			assert.ok((await ground()) > 200, "light after a reload");
		},
		{ colorScheme: "dark" },
	));
