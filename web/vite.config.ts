// SPDX-License-Identifier: Apache-2.0
import { defineConfig } from "vite";

const agent = process.env["SKEP_DEV_AGENT"] ?? "http://127.0.0.1:7071"; // `npm run mock`

export default defineConfig({
	base: "./",
	esbuild: { jsx: "automatic", jsxImportSource: "preact" },
	build: {
		outDir: "../build/web",
		emptyOutDir: true,
		assetsInlineLimit: 0, // the agent's policy allows no data: URLs
		chunkSizeWarningLimit: 600, // cytoscape, loaded when the map is first shown
	},
	server: { proxy: { "/v1": { target: agent, changeOrigin: true } } },
});
