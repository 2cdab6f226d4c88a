// SPDX-License-Identifier: Apache-2.0
// The balancer's panel, on the mock agent.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { go, launch, until, visit } from "./browser.mjs";
import { startMock } from "./mock.mjs";

let browser;
before(async () => {
	browser = await launch();
});
after(() => browser?.close());

async function withMock(options, body, visiting) {
	const mock = await startMock(options);
	try {
		await visit(
			browser,
			mock.url,
			async (page) => {
				await page.locator(".host strong").waitFor();
				await go(page, "#/balance");
				await body(page, mock);
			},
			visiting,
		);
	} finally {
		await mock.close();
	}
}

const card = (page, name) => page.locator(`section[aria-label="Service ${name}"]`);
const backend = (page, service, address) => card(page, service).locator("tr", { hasText: address });

test("services show their addresses, backends with state and live rates, and what was not forwarded", () =>
	withMock({}, async (page) => {
		const shop = card(page, "shop");
		await shop.waitFor();
		assert.match(await shop.locator("h2").textContent(), /203\.0\.113\.10:443\/tcp/);
		assert.equal(await shop.locator("tbody tr").count(), 3);
		assert.match(await shop.locator(".lb-reasons").textContent(), /no_neighbour 4/);
		await until(
			() =>
				shop
					.locator(".lb-sum")
					.textContent()
					.then((t) => Number(/([\d\u202f.]+) packets\/s/.exec(t)?.[1]?.replace(/\D/g, "")) > 500),
			"packets a second",
			40_000,
		);
		assert.ok(await backend(page, "shop", "10.0.0.1").locator("canvas").isVisible());
	}));

test("a backend is drained and undrained with a button, and its state follows", () =>
	withMock({}, async (page, mock) => {
		const row = backend(page, "shop", "10.0.0.2");
		await row.getByRole("button", { name: "Drain", exact: true }).click();
		await row.getByText("draining").waitFor();
		assert.deepEqual([...mock.balance.draining], ["shop 10.0.0.2"]);
		assert.match(await card(page, "shop").textContent(), /2 of 3 live/);
		await row.getByRole("button", { name: "Undrain" }).click();
		await row.getByText("live", { exact: true }).waitFor();
		assert.equal(mock.balance.draining.size, 0);
	}));

test("what drains by its weight can be drained, not undrained", () =>
	withMock({}, async (page, mock) => {
		mock.balance.weightless.add("shop 10.0.0.2");
		const row = backend(page, "shop", "10.0.0.2");
		await row.getByText("draining").waitFor();
		await row.getByRole("button", { name: "Drain", exact: true }).click();
		await row.getByRole("button", { name: "Undrain" }).waitFor();
		assert.deepEqual([...mock.balance.draining], ["shop 10.0.0.2"]);
	}));

test("a packet is asked about, and its verdict stands with the way it took", () =>
	withMock({}, async (page) => {
		const box = page.getByRole("textbox", { name: "Packet" });
		await box.fill("tcp 198.51.100.7:40000 > 203.0.113.10:443");
		await box.press("Enter");
		await page.locator("[data-test=why]").getByText("sent to a backend").waitFor();
		await box.fill("tcp 198.51.100.7:40000 > 192.0.2.1:443");
		await box.press("Enter");
		await page.getByText("no service has this address").waitFor();
	}));

test("what the agent refuses is told in its words", () =>
	withMock(
		{},
		async (page, mock) => {
			await card(page, "shop").waitFor();
			mock.refuse.set("/v1/balance/drain", [400, "service 'shop' has no such backend"]);
			await backend(page, "shop", "10.0.0.1").getByRole("button").click();
			await page.getByRole("alert").getByText("has no such backend").waitFor();
		},
		{ allow: /status of 400/ },
	));

test("the filter finds a service among thousands; the rest is counted, not drawn", () =>
	withMock({ services: 2000 }, async (page) => {
		await page.getByText(/1.960 more/).waitFor();
		await page.locator("#filter").fill("service-1234");
		await card(page, "service-1234").waitFor();
		assert.equal(await page.locator(".lb-service").count(), 1);
	}));
