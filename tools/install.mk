# SPDX-License-Identifier: Apache-2.0
# install: the binary, and what it prints of itself: completions and the manual page; the library.
TO := $(DESTDIR)$(PREFIX)

install: build/skep build/libskep.a
	install -D -m 755 build/skep $(TO)/bin/skep
	install -D -m 644 include/skep/engine.h $(TO)/include/skep/engine.h
	install -D -m 644 build/libskep.a $(TO)/lib/libskep.a
	@install -d $(TO)/share/bash-completion/completions $(TO)/share/zsh/site-functions \
		$(TO)/share/fish/vendor_completions.d $(TO)/share/man/man1 $(TO)/share/doc/skep
	build/skep completion bash > $(TO)/share/bash-completion/completions/skep
	build/skep completion zsh > $(TO)/share/zsh/site-functions/_skep
	build/skep completion fish > $(TO)/share/fish/vendor_completions.d/skep.fish
	build/skep man | gzip -9n > $(TO)/share/man/man1/skep.1.gz
	install -m 644 LICENSE README.md $(wildcard docs/*.md) $(TO)/share/doc/skep/
	@[ ! -f packaging/skep.service ] || { install -d $(TO)/lib/systemd/system && \
		sed 's|^\(Exec[A-Za-z]*=\)[^ ]*/skep |\1$(PREFIX)/bin/skep |' packaging/skep.service \
			> $(TO)/lib/systemd/system/skep.service; }
