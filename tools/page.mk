# SPDX-License-Identifier: Apache-2.0
# The page: built by Vite into build/web, packed into one object by tools/embed.
WEB_SRC := $(shell find web -path web/node_modules -prune -o -type f -print 2>/dev/null)

build/web/index.html: $(WEB_SRC) | build/.deps-build
	@tools/page $@

build/gen/page.S: build/web/index.html tools/embed
	@mkdir -p $(@D)
	@tools/embed build/web > $@

$(B)/page.o: build/gen/page.S
	@mkdir -p $(@D)
	@gcc -c -o $@ $<
