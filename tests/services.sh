#!/bin/sh
# Installs the Debian packages that some tests drive: Prometheus and its promtool read our exposition and our rules, Redis is
# what several gates share, Chromium shows the console and the dashboards. Without the right to install, the tests that need one are skipped with the reason;
# under CI a skip is a failure.
set -u
missing=""
command -v promtool >/dev/null 2>&1 || missing="$missing prometheus"
command -v redis-server >/dev/null 2>&1 || missing="$missing redis-server"
command -v chromium >/dev/null 2>&1 || missing="$missing chromium"
[ -z "$missing" ] && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    (apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing) >/dev/null 2>&1 \
        || echo "could not install:$missing"
else
    echo "not installed (needs root and apt-get):$missing; the tests that use it will be skipped"
fi
exit 0
