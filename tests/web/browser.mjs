// SPDX-License-Identifier: Apache-2.0
// Chromium with a guard: no error in the console, no request to anybody but the agent.
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { startMock } from "./mock.mjs";

const { chromium } = createRequire(new URL("../../web/package.json", import.meta.url))(
	"playwright-core",
);

const ARGS = [
	"--headless",
	"--no-sandbox",
	"--disable-gpu",
	"--disable-quic",
	"--no-first-run",
	"--disable-background-networking",
	"--disable-component-update",
	"--disable-sync",
];

export const launch = () =>
	chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: ARGS });

/** The agent under test: SKEP_URL where it is set, else a mock. */
export async function agent(options) {
	if (process.env.SKEP_URL)
		return { url: process.env.SKEP_URL, real: true, close: async () => {} };
	return startMock(options);
}

/**
 * Open a page in a context of its own, run `body`, and hold the page to its manners.
 * @param allow what may stand in the console, where the test provokes it
 */
export async function visit(browser, url, body, { allow, ...options } = {}) {
	const context = await browser.newContext({
		viewport: { width: 1440, height: 900 },
		...options,
	});
	const wrong = [];
	const page = await context.newPage();
	page.setDefaultTimeout(30_000);
	page.on("console", (m) => {
		if (["error", "warning"].includes(m.type()) && !allow?.test(m.text()))
			wrong.push(`console: ${m.text()}`);
	});
	page.on("pageerror", (e) => wrong.push(`exception: ${e.stack}`));
	page.on("dialog", (d) => {
		wrong.push(`dialog: ${d.message()}`);
		void d.dismiss();
	});
	context.on("request", (r) => {
		const asked = new URL(r.url());
		if (asked.protocol !== "blob:" && asked.host !== new URL(url).host)
			wrong.push(`request to ${r.url()}`);
	});
	try {
		await page.goto(url);
		await body(page);
		assert.deepEqual(wrong, []);
	} finally {
		await context.close();
	}
}

export const go = (page, hash) => page.evaluate((h) => (location.hash = h), hash);

/** The map's cytoscape, asked inside the page. */
export const onMap = async (page, question, argument) => {
	await page.waitForFunction(() => document.querySelector(".map")?._cyreg?.cy.nodes().length > 0);
	return page.evaluate(
		([source, arg]) =>
			new Function("cy", "arg", `return (${source})(cy, arg)`)(
				document.querySelector(".map")._cyreg.cy,
				arg,
			),
		[question.toString(), argument],
	);
};

/** Wait until `probe` gives a value that is true; its last value is the failure's message. */
export async function until(probe, what, within = 30_000) {
	const end = Date.now() + within;
	for (;;) {
		const value = await probe();
		if (value) return value;
		if (Date.now() > end) assert.fail(`${what}: last seen ${JSON.stringify(value)}`);
		await new Promise((resolve) => setTimeout(resolve, 100));
	}
}
