# make demo      see it at work: private rsync daemons on loopback, killed processes, a comparison after each step
# make test      all tests, with real rsync daemons and ssh servers
# make build     target/release/syncsup
# make install   below $(DESTDIR)$(PREFIX); with SERSYNC=1 also callable as sersync
# make lint      formatting, clippy, manual pages, shell scripts
#
# demo and test install what is missing with apt (rsync, a C compiler for SQLite; for test sshd and curl), by sudo when not root.

PREFIX ?= /usr/local
DESTDIR ?=
CARGO ?= cargo
BINDIR = $(DESTDIR)$(PREFIX)/bin
MANDIR = $(DESTDIR)$(PREFIX)/share/man
BINARY = target/release/syncsup

.PHONY: demo test build install uninstall lint clean compiler

demo: build
	@.ci/need rsync
	$(BINARY) demo

test: compiler
	@PATH="$$PATH:/usr/sbin" .ci/need rsync curl sshd:openssh-server ssh-keygen:openssh-client
	@.ci/old-rsync target/old-rsync
	$(CARGO) test --locked

build: compiler
	$(CARGO) build --release --locked

compiler:
	@.ci/need cc:gcc,libc6-dev
	@command -v $(CARGO) >/dev/null || { echo "there is no cargo; install Rust 1.88 or newer, see https://rustup.rs" >&2; exit 1; }

lint: compiler
	@.ci/need mandoc shellcheck
	@.ci/lint

install:
	@test -x $(BINARY) || { echo "run make build first" >&2; exit 1; }
	install -D -m 755 $(BINARY) $(BINDIR)/syncsup
	install -D -m 644 man/syncsup.8 $(MANDIR)/man8/syncsup.8
	install -D -m 644 man/syncsup.yaml.5 $(MANDIR)/man5/syncsup.yaml.5
	test -z "$(SERSYNC)" || ln -sf syncsup $(BINDIR)/sersync

uninstall:
	rm -f $(BINDIR)/syncsup $(MANDIR)/man8/syncsup.8 $(MANDIR)/man5/syncsup.yaml.5
	test "$$(readlink $(BINDIR)/sersync)" != syncsup || rm -f $(BINDIR)/sersync

clean:
	$(CARGO) clean
