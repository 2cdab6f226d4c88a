// SPDX-License-Identifier: Apache-2.0
import { render } from "preact";
import { App } from "./app";
import { begin } from "./model";
import "uplot/dist/uPlot.min.css";
import "./style.css";

// The cookie is set; the token has no business in the address bar.
if (location.search) window.history.replaceState(null, "", location.pathname + location.hash);

begin();
render(<App />, document.getElementById("app")!);
