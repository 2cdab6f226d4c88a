// SPDX-License-Identifier: Apache-2.0
// Good days in detail and bad days, on the mock agent.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { after, before, test } from "node:test";
import { go, launch, onMap, until, visit } from "./browser.mjs";
import { ESCAPED, MARKUP } from "./host.mjs";
import { startMock } from "./mock.mjs";

let browser;
before(async () => {
	browser = await launch();
});
after(() => browser?.close());

const NETWORK = /Failed to load resource|ERR_|status of 4|status of 5/;

/** A mock of its own for one test. */
async function withMock(options, body, visiting) {
	const mock = await startMock(options);
	try {
		await visit(browser, mock.url, (page) => body(page, mock), visiting);
	} finally {
		await mock.close();
	}
}

const rows = (page) => page.locator("tbody tr[role=row]");

test("the map shows the shop: who asks stands left of who answers, failures are red", () =>
	withMock({}, async (page) => {
		const seen = await onMap(page, (cy) => ({
			x: Object.fromEntries(cy.nodes().map((n) => [n.data("name"), n.position().x])),
			trouble: cy
				.edges()
				.filter((e) => e.data("trouble") === "all")
				.map((e) => e.data("label")),
			red: cy
				.edges()
				.filter((e) => e.data("trouble") === "all")
				.map((e) => e.style("line-color")),
			wide: cy.edges().map((e) => [e.data("label"), e.data("width")]),
		}));
		assert.ok(
			seen.x["shop-client"] < seen.x.front &&
				seen.x.front < seen.x.catalog &&
				seen.x.catalog < seen.x.redis,
			JSON.stringify(seen.x),
		);
		assert.match(seen.trouble[0], /^443 · \d+ failed$/);
		assert.equal(seen.red[0], "rgb(179,38,30)");
		const width = (port) => seen.wide.find(([label]) => label === port)[1];
		assert.ok(width("80") > width("8082"), "more bytes, wider edge");
	}));

test("nodes keep their places while the map lives, and a new one joins its neighbours", () =>
	withMock({}, async (page, mock) => {
		const places = () =>
			onMap(page, (cy) =>
				Object.fromEntries(
					cy.nodes().map((n) => [n.data("name"), [n.position().x, n.position().y]]),
				),
			);
		const before = await places();
		const template = mock.host.connections.find(
			(c) => c.service === "front" && c.direction === "out",
		);
		mock.host.connections.push({
			...template,
			remote_service: "newcomer",
			remote_port: 9999,
			remote_pid: undefined,
			time: mock.host.now(),
			ended: undefined,
		});
		const after = await until(async () => {
			const now = await places();
			return now.newcomer && now;
		}, "the newcomer");
		const { newcomer, ...rest } = after;
		assert.deepEqual(rest, before);
		assert.ok(newcomer[0] > before.front[0], "right of the one who asks it");
	}));

test("a click on a node opens its processes and connections, a click on an edge its ends", () =>
	withMock({}, async (page) => {
		const box = await page.locator(".map").boundingBox();
		const click = async (at) => page.mouse.click(box.x + at.x, box.y + at.y);
		await click(
			await onMap(page, (cy) =>
				cy
					.nodes()
					.filter((n) => n.data("name") === "front")
					.renderedPosition(),
			),
		);
		const panel = page.locator("[data-test=panel]");
		await panel.getByRole("heading", { name: "front", level: 2 }).waitFor();
		await until(
			() =>
				panel
					.locator(".lines li")
					.count()
					.then((n) => n > 5),
			"its lists",
		);
		assert.match(await panel.textContent(), /nginx: worker process/);
		await click(
			await onMap(page, (cy) =>
				cy
					.edges()
					.filter((e) => e.data("label") === "80")[0]
					.renderedMidpoint(),
			),
		);
		await panel.getByRole("heading", { name: "shop-client → front" }).waitFor();
		await panel.locator(".lines li").first().waitFor();
		await page.keyboard.press("Escape");
		await panel.waitFor({ state: "detached" });
	}));

test("the list beside the map does by keyboard what the map does by mouse", () =>
	withMock({}, async (page) => {
		await page.locator(".services button", { hasText: "redis" }).focus();
		await page.keyboard.press("Enter");
		await page.locator("[data-test=panel] h2", { hasText: "redis" }).waitFor();
		assert.equal(await onMap(page, (cy) => cy.nodes(".chosen").data("name")), "redis");
	}));

test("the filter narrows the map to a service and its peers", () =>
	withMock({}, async (page) => {
		await onMap(page, (cy) => cy.nodes().length);
		await page.locator("#filter").fill("redis");
		const names = () =>
			onMap(page, (cy) =>
				cy
					.nodes()
					.map((n) => n.data("name"))
					.sort(),
			);
		await until(
			async () => (await names()).join() === "cart,catalog,orders,redis",
			"redis and who asks it",
		);
	}));

test("hostile names are shown as text, in every view", () =>
	withMock({}, async (page) => {
		await go(page, "#/processes");
		await page.locator("td:first-child", { hasText: ESCAPED }).waitFor();
		await page.locator("td:first-child", { hasText: MARKUP }).click();
		await page.locator("[data-test=panel] h2", { hasText: MARKUP }).waitFor();
		await page
			.locator("[data-test=panel] dd", { hasText: "<script>alert(2)</script>" })
			.waitFor();
		await go(page, "#/dns");
		await page
			.locator("td", { hasText: `${MARKUP}.example` })
			.first()
			.waitFor();
		await go(page, "#/sql");
		await page
			.locator("#sql")
			.fill(`select '${MARKUP}' as x, service, count(*) as n from process group by 2`);
		await page.locator("#sql").press("Control+Enter");
		await page.locator("td", { hasText: MARKUP }).first().waitFor();
		await page.getByRole("button", { name: "Chart" }).click();
		await page.locator(".bar", { hasText: MARKUP }).first().waitFor();
		assert.equal(await page.locator("img, main script").count(), 0);
	}));

test("invisible and direction characters are shown, not obeyed", () =>
	withMock({}, async (page, mock) => {
		mock.host.spawn("x", undefined, { comm: "a\u202ecod.exe\u0007", service: "x" });
		await go(page, "#/processes");
		await page.locator("#filter").fill("cod.exe");
		await page.locator("td", { hasText: "a\\u202ecod.exe\\u0007" }).first().waitFor();
	}));

test("processes come and go with the stream, with their fate", () =>
	withMock({}, async (page, mock) => {
		await go(page, "#/processes");
		await page.locator("[data-test=link]", { hasText: "live" }).waitFor();
		const parent = [...mock.host.processes.values()][0];
		const p = mock.host.spawn("newborn", parent, { service: "newborn" });
		mock.tell({ ...p, event: "process.exec", at: p.time });
		const row = page.locator("tr[role=row]", { hasText: "newborn" });
		await page.locator("#filter").fill("comm:newborn");
		await row.waitFor();
		mock.host.processes.delete(`${p.pid}.${p.started}`);
		mock.tell({
			...p,
			ended: mock.host.now(),
			signal: 9,
			event: "process.exit",
			at: mock.host.now(),
		});
		await row.getByText("signal 9").waitFor();
		await row.waitFor({ state: "detached" });
	}));

test("one pid used twice is two processes", () =>
	withMock({}, async (page, mock) => {
		const first = mock.host.spawn("first-life", undefined, { service: "x" });
		const second = { ...first, started: first.started + 5e9, comm: "second-life" };
		mock.host.processes.set("second", second);
		await go(page, "#/processes");
		await page.locator("#filter").fill(`pid:${first.pid} -life-of`);
		await page.locator("td", { hasText: "first-life" }).first().waitFor();
		await page.locator("td", { hasText: "second-life" }).first().waitFor();
	}));

test("without a stream the processes are polled, and the toolbar says so", () =>
	withMock(
		{},
		async (page, mock) => {
			mock.refuse.set("/v1/events", [503, "too many readers"]);
			for (const reader of mock.readers) reader.end();
			await go(page, "#/processes");
			await page.locator("[data-test=link]", { hasText: "polling" }).waitFor();
			mock.host.spawn("found-by-poll", undefined, { service: "x" });
			await page.locator("#filter").fill("found-by-poll");
			await page.locator("td", { hasText: "found-by-poll" }).first().waitFor();
		},
		{ allow: NETWORK },
	));

test("paused stands still, resumed goes on", () =>
	withMock({}, async (page, mock) => {
		await go(page, "#/processes");
		await rows(page).first().waitFor();
		await page.getByRole("button", { name: "Pause" }).click();
		await page.locator("[data-test=link]", { hasText: "paused" }).waitFor();
		await until(() => mock.readers.size === 0, "the stream closed");
		const p = mock.host.spawn("while-paused", undefined, { service: "x" });
		mock.tell({ ...p, event: "process.exec", at: p.time });
		await page.waitForTimeout(1200);
		await page.locator("#filter").fill("while-paused");
		await page.getByText("No process matches the filter.").waitFor();
		await page.getByRole("button", { name: "Resume" }).click();
		await page.locator("td", { hasText: "while-paused" }).first().waitFor();
	}));

test("ten thousand processes: few rows exist, the keyboard reaches the last, a filter answers within two frames", () =>
	withMock({ processes: 10_000 }, async (page) => {
		await go(page, "#/processes");
		await until(
			() =>
				page
					.locator(".tally")
					.textContent()
					.then((t) => Number(t.replace(/\D/g, "")) >= 10_000),
			"all of them",
		);
		assert.ok((await rows(page).count()) < 80);
		const tree = page.getByRole("treegrid");
		await tree.focus();
		await page.keyboard.press("End");
		const id = await until(
			() => tree.getAttribute("aria-activedescendant"),
			"the last row in sight",
		);
		assert.ok(Number(await page.locator(`[id="${id}"]`).getAttribute("aria-rowindex")) > 9_990);
		const shown = await page.evaluate(async () => {
			const box = document.getElementById("filter");
			box.value = "jobs-3 ";
			box.dispatchEvent(new Event("input", { bubbles: true }));
			await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
			return document.querySelector(".tally").textContent;
		});
		assert.match(shown, / of /, "two frames later the list is the filter's");
	}));

test("ten thousand connections scroll and sort without making ten thousand rows", () =>
	withMock({ connections: 10_000 }, async (page) => {
		await go(page, "#/connections");
		await page.getByRole("button", { name: "All" }).click();
		await until(
			() =>
				page
					.locator(".tally")
					.textContent()
					.then(
						(t) =>
							Number(t.replace(/\D.*/s, "").replace(/\D/g, "") || 0) >= 10 &&
							/10.000/.test(t),
					),
			"ten thousand",
		);
		await page.getByText("more exist than the page shows").waitFor();
		await page.getByRole("button", { name: "Pause" }).click();
		const made = await page.evaluate(async () => {
			const frame = () =>
				new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
			const box = document.querySelector(".grid");
			const list = [];
			for (let i = 1; i <= 20; i++) {
				box.scrollTop = (box.scrollHeight * i) / 20;
				await frame();
				const seen = [...box.querySelectorAll("tbody tr[role=row]")].filter((row) => {
					const { top, bottom } = row.getBoundingClientRect();
					const { top: from, bottom: to } = box.getBoundingClientRect();
					return bottom > from && top < to;
				});
				list.push([box.querySelectorAll("tbody tr").length, seen.length]);
			}
			return list;
		});
		for (const [rows, seen] of made) assert.ok(rows < 80 && seen > 5, JSON.stringify(made));
	}));

test("a connection opens with its fields and leads to both processes", () =>
	withMock({}, async (page) => {
		await go(page, "#/connections");
		await page.locator("#filter").fill("service:front remote_service:shop-client");
		await rows(page).first().click();
		const panel = page.locator("[data-test=panel]");
		await panel.locator("dt", { hasText: /^bytes_sent$/ }).waitFor();
		await panel.getByRole("link", { name: /Other end/ }).click();
		await page
			.getByRole("heading", { level: 1, name: "Processes" })
			.waitFor({ state: "attached" });
		await page.locator("[data-test=panel] h2", { hasText: "curl" }).waitFor();
	}));

test("failed connections are found under all, with their errno", () =>
	withMock({}, async (page) => {
		await go(page, "#/connections");
		await page.getByRole("button", { name: "All" }).click();
		await page.locator("#filter").fill("error:ETIMEDOUT");
		await page.locator("tr.failed td", { hasText: "ETIMEDOUT" }).first().waitFor();
	}));

test("the agent goes and comes back: the page says so and recovers by itself", async () => {
	let mock = await startMock({});
	const { port, url } = mock;
	try {
		await visit(
			browser,
			url,
			async (page) => {
				await page.locator(".host strong").waitFor();
				await mock.close();
				await page.locator("[data-test=gone]").waitFor();
				assert.match(
					await page.locator("[data-test=gone]").textContent(),
					/does not answer.*What you see is from \d\d:/s,
				);
				await page.locator("[data-test=link]", { hasText: "agent gone" }).waitFor();
				mock = await startMock({ port, processes: 321 });
				await page.locator("[data-test=gone]").waitFor({ state: "detached" });
				await page.locator("[data-test=link]", { hasText: "live" }).waitFor();
				await until(
					() =>
						page
							.locator(".stat strong")
							.first()
							.textContent()
							.then((t) => /^32\d$/.test(t)),
					"the new agent's processes",
				);
			},
			{ allow: NETWORK },
		);
	} finally {
		await mock.close();
	}
});

test("an agent that goes before the map's code came: the page says so and draws the map later", () =>
	withMock(
		{},
		async (page) => {
			await page.route("**/cytoscape*", (route) => route.abort());
			await page.reload();
			await page.getByRole("alert").getByText("The map did not load").waitFor();
			await page.unroute("**/cytoscape*");
			assert.ok((await onMap(page, (cy) => cy.nodes().length)) > 5);
			await page.getByRole("alert").waitFor({ state: "detached" });
		},
		{ allow: NETWORK },
	));

test("an answer of another shape breaks its view and no other", () =>
	withMock(
		{},
		async (page, mock) => {
			mock.host.map = () => ({ nodes: null });
			await page.reload();
			await page.getByRole("alert").getByText("This view broke").waitFor();
			await page.getByRole("link", { name: "Processes" }).click();
			await rows(page).first().waitFor();
		},
		{ allow: /TypeError/ },
	));

test("without the token the page tells how to get in; with it, it opens", () =>
	withMock(
		{ token: "s3cret" },
		async (page, mock) => {
			await page.locator(".host strong").waitFor();
			assert.equal(page.url(), `http://127.0.0.1:${mock.port}/`);
			await page.context().clearCookies();
			await page.locator("[data-test=denied]").waitFor();
			assert.match(
				await page.locator("[data-test=denied]").textContent(),
				/skep up.*skep url/s,
			);
			await page.goto(mock.url);
			await page.locator(".host strong").waitFor();
		},
		{ allow: NETWORK },
	));

test("lost events stand in the toolbar: the agent's and those this page was too slow for", () =>
	withMock({ lost: 41 }, async (page, mock) => {
		await page.locator("[data-test=lost]", { hasText: "41 events lost" }).waitFor();
		await until(() => mock.readers.size > 0, "the stream");
		mock.tellLost(7);
		await page.locator("[data-test=lost]", { hasText: "48 events lost" }).waitFor();
		await page.locator("[data-test=lost]").click();
		await page.getByText("41 in the agent, 7 because this page was too slow").waitFor();
	}));

test("a refused part shows the agent's sentence and the rest goes on", () =>
	withMock(
		{},
		async (page, mock) => {
			mock.refuse.set("/v1/trace/map", [503, "trace is not ready: no BTF"]);
			await page.reload();
			await page.getByRole("alert").getByText("trace is not ready: no BTF").waitFor();
			await until(
				() =>
					page
						.locator(".stat strong")
						.first()
						.textContent()
						.then((t) => Number(t) > 0),
				"the counts",
			);
			mock.refuse.clear();
			await onMap(page, (cy) => cy.nodes().length);
			assert.equal(await page.getByRole("alert").count(), 0);
		},
		{ allow: NETWORK },
	));

test("backends that go down and sampled packets stand in the feed, failures marked", () =>
	withMock({}, async (page, mock) => {
		await page.locator("[data-test=link]", { hasText: "live" }).waitFor();
		const time = mock.host.now();
		const packet = { event: "balance.packet", at: time, time, proto: 6, size: 74 };
		mock.tell({
			event: "balance.backend",
			at: time,
			time,
			service: "shop",
			backend: "10.0.0.2",
			state: "down",
			reason: "connection refused",
		});
		mock.tell({
			...packet,
			reason: "no_route",
			verdict: "drop",
			source: "198.51.100.7",
			source_port: 4000,
			destination: "2001:db8::1",
			destination_port: 80,
		});
		mock.tell({
			...packet,
			reason: "forwarded",
			verdict: "tx",
			source: "198.51.100.7",
			source_port: 4001,
			destination: "203.0.113.10",
			destination_port: 443,
			service: "shop",
			backend: "10.0.0.1",
		});
		const line = (text) => page.locator(".feed li", { hasText: text });
		await line("shop: 10.0.0.2 is down, connection refused").waitFor();
		await line("no_route: 198.51.100.7:4000 > [2001:db8::1]:80").waitFor();
		await line("forwarded: 198.51.100.7:4001 > 203.0.113.10:443 to 10.0.0.1").waitFor();
		assert.equal(await page.locator(".feed li.failed", { hasText: "no_route" }).count(), 1);
		assert.equal(await page.locator(".feed li.failed", { hasText: "forwarded" }).count(), 0);
	}));

test("a result draws as bars over a text and as lines over a time", () =>
	withMock({}, async (page) => {
		await go(page, "#/sql");
		await page.getByLabel("Examples").selectOption({ label: "Bytes by service" });
		await page.getByRole("button", { name: "Chart" }).click();
		assert.ok((await page.locator(".bar").count()) > 5);
		await page.locator("#sql").fill("select time, latency_us from dns");
		await page.locator("#sql").press("Control+Enter");
		await until(
			() =>
				page
					.locator("[data-test=tally]")
					.textContent()
					.then((t) => /^2\d\d/.test(t)),
			"the second result",
		);
		await page.getByRole("button", { name: "Chart" }).click();
		await page.locator(".chart canvas").waitFor();
		await page.locator("#sql").fill("select pid, ppid from process");
		await page.locator("#sql").press("Control+Enter");
		await until(
			() => page.getByRole("button", { name: "Chart" }).isDisabled(),
			"nothing to draw",
		);
	}));

test("a result downloads as CSV and JSON with exact nanoseconds", () =>
	withMock({}, async (page, mock) => {
		mock.query = async () => ({
			columns: ["time", "name"],
			rows: [["@", 'a "b", c']],
			truncated: false,
			millisec: 1,
		});
		await page.route("**/v1/query", async (route) => {
			const answer = await route.fetch();
			await route.fulfill({
				body: (await answer.text()).replace('"@"', "1763837462123456789"),
			});
		});
		await go(page, "#/sql");
		await page.getByRole("button", { name: "Run" }).click();
		const take = async (name) => {
			const [file] = await Promise.all([
				page.waitForEvent("download"),
				page.getByRole("button", { name }).click(),
			]);
			return readFile(await file.path(), "utf8");
		};
		assert.equal(await take("CSV"), 'time,name\r\n1763837462123456789,"a ""b"", c"\r\n');
		assert.equal(
			await take("JSON"),
			'[\n  {"time": 1763837462123456789, "name": "a \\"b\\", c"}\n]\n',
		);
	}));

test("the console remembers its history across a reload", () =>
	withMock({}, async (page) => {
		await go(page, "#/sql");
		await page.locator("#sql").fill("select name from dns limit 2");
		await page.locator("#sql").press("Control+Enter");
		await page.locator("[data-test=tally]").waitFor();
		await page.reload();
		await page.getByLabel("History").selectOption({ label: "select name from dns limit 2" });
		await page.locator("[data-test=tally]", { hasText: "2 rows" }).waitFor();
	}));

test("nothing is wider than the window at the width of a phone", () =>
	withMock(
		{},
		async (page) => {
			for (const hash of [
				"#/",
				"#/processes",
				"#/connections",
				"#/dns",
				"#/sql",
				"#/status",
			]) {
				await go(page, hash);
				await page.locator("main > *").nth(1).waitFor();
				await page.waitForTimeout(300);
				const wide = await page.evaluate(() => document.documentElement.scrollWidth);
				assert.ok(wide <= 390, `${hash} is ${wide} pixels wide`);
			}
		},
		{ viewport: { width: 390, height: 800 } },
	));

test("text has AA contrast on its ground in both themes", () =>
	withMock({ lost: 3 }, async (page) => {
		const pairs = [
			["text", "panel"],
			["text", "ground"],
			["text", "raised"],
			["text", "accent-soft"],
			["muted", "panel"],
			["muted", "ground"],
			["muted", "raised"],
			["accent", "panel"],
			["accent", "accent-soft"],
			["good", "good-soft"],
			["warn", "warn-soft"],
			["bad", "bad-soft"],
			["bad", "panel"],
			["good", "panel"],
			["on-accent", "accent"],
			["series-3", "panel"],
			["series-4", "panel"],
			["muted", "accent-soft"],
		];
		await page.locator(".host strong").waitFor();
		for (const theme of ["light", "dark"]) {
			await page.locator("[data-test=theme]").selectOption(theme);
			const colors = await page.evaluate(
				(names) =>
					Object.fromEntries(
						names.map((n) => [
							n,
							getComputedStyle(document.documentElement)
								.getPropertyValue(`--${n}`)
								.trim(),
						]),
					),
				[...new Set(pairs.flat())],
			);
			for (const [ink, ground] of pairs) {
				const ratio = contrast(colors[ink], colors[ground]);
				assert.ok(ratio >= 4.5, `${theme}: ${ink} on ${ground} is ${ratio.toFixed(2)}`);
			}
		}
	}));

function luminance(hex) {
	const [r, g, b] = [1, 3, 5].map((i) => {
		const c = parseInt(hex.slice(i, i + 2), 16) / 255;
		return c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
	});
	return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}

function contrast(a, b) {
	const [low, high] = [luminance(a), luminance(b)].sort((x, y) => x - y);
	return (high + 0.05) / (low + 0.05);
}
