'use strict';
(() => {
  const d = document, $ = (id) => d.getElementById(id);
  const all = (what) => [...d.querySelectorAll(what)];
  const [search, fold, pause, live, main] = ['search', 'fold', 'pause', 'live', 'main'].map($);
  if (!search) { setTimeout(() => location.reload(), 5000); return; }
  search.closest('.tools').hidden = false;

  // Makes what is shown (a) what is new (b), and keeps every node that is in both: data-k names it among its siblings.
  // Folds (open) and what has data-own belong to the person.
  const key = (n) => n.nodeType === 1 && n.hasAttribute('data-k') ? n.nodeName + n.getAttribute('data-k') : '';
  function morph(a, b) {
    if (a.nodeType !== 1) {
      if (a.nodeValue !== b.nodeValue) a.nodeValue = b.nodeValue;
      return;
    }
    if (a.hasAttribute('data-own') || a.isEqualNode(b)) return;
    for (const { name, value } of [...b.attributes]) {
      if (name !== 'open' && a.getAttribute(name) !== value) a.setAttribute(name, value);
    }
    for (const { name } of [...a.attributes]) {
      if (name !== 'open' && !b.hasAttribute(name)) a.removeAttribute(name);
    }
    const wanted = new Set([...b.childNodes].map(key)), shown = new Map();
    for (const n of [...a.childNodes]) {
      const k = key(n);
      if (k && !wanted.has(k)) n.remove();
      else if (k) shown.set(k, n);
    }
    let at = a.firstChild;
    for (const n of [...b.childNodes]) {
      const k = key(n);
      const same = k ? shown.get(k) : at && !key(at) && at.nodeName === n.nodeName ? at : null;
      if (same) {
        if (same === at) at = at.nextSibling;
        else a.insertBefore(same, at);
        morph(same, n);
      } else a.insertBefore(d.importNode(n, true), at);
    }
    while (at) {
      const next = at.nextSibling;
      at.remove();
      at = next;
    }
  }

  // What is at the top of the window stays there, and the focus where it is.
  function keep(change) {
    const focus = d.activeElement;
    const anchor = scrollY > 0 && all('[data-q], .localpath').find((n) => n.getBoundingClientRect().bottom > 0);
    const top = anchor && anchor.getBoundingClientRect().top;
    change();
    if (focus !== d.activeElement && focus.isConnected) focus.focus({ preventScroll: true });
    if (anchor && anchor.isConnected) scrollBy(0, anchor.getBoundingClientRect().top - top);
  }

  // A row is found by its own words and by those of its localpath. What is found is unfolded, and folded again after.
  const before = new Map();
  function find() {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const has = (text) => words.every((word) => text.toLowerCase().includes(word));
    const show = d.querySelector('[name=show]:checked'), only = show ? show.id.slice(5) : 'all';
    const narrow = words.length > 0 || only !== 'all';
    for (const n of all('[data-q]')) {
      const path = n.closest('.localpath, tbody');
      n.classList.toggle('miss', words.length > 0 && !has((path ? path.dataset.k + ' ' : '') + n.textContent));
    }
    for (const l of all('.localpath')) {
      const hit = words.length === 0 || has(l.dataset.k) || l.querySelector('[data-q]:not(.miss)');
      l.classList.toggle('miss', !hit);
      if (narrow && hit && !before.has(l)) {
        before.set(l, l.open);
        l.open = true;
      }
      if (!narrow && before.has(l)) l.open = before.get(l);
    }
    if (!narrow) before.clear();
    const found = all('.remote').some((n) => !n.matches('.miss') && (only === 'all' || n.matches('.' + only)));
    for (const n of all('.unfound')) n.hidden = words.length === 0 || found;
    name();
  }

  const open = () => all('.localpath').some((l) => l.open);
  const name = () => { if (fold) fold.textContent = open() ? 'Fold all' : 'Unfold all'; };
  const say = (text, bad) => {
    if (live.textContent !== text) live.textContent = text;
    live.className = bad ? 'bad' : '';
  };
  let still = false, busy = false, since = '';
  async function refresh() {
    if (busy) return;
    busy = true;
    try {
      const got = await fetch(location.pathname, { cache: 'no-store', signal: AbortSignal.timeout(9000) });
      if (!got.ok) throw new Error(got.status);
      const next = new DOMParser().parseFromString(await got.text(), 'text/html');
      if (next.body.dataset.version !== d.body.dataset.version || !next.getElementById('search')) location.reload();
      else {
        keep(() => {
          for (const id of ['head', 'main']) morph($(id), next.getElementById(id));
          find();
        });
        if (d.title !== next.title) d.title = next.title;
        since = '';
        say('');
      }
    } catch {
      since ||= new Date().toLocaleTimeString();
      say(`No answer since ${since}`, true);
    }
    busy = false;
  }

  search.addEventListener('input', find);
  main.addEventListener('change', (e) => {
    if (e.target.name === 'show') $('view-remotes').checked = true;
    find();
  });
  main.addEventListener('toggle', name, true);
  fold?.addEventListener('click', () => {
    const to = !open();
    all('.localpath').forEach((l) => { l.open = to; });
  });
  pause.addEventListener('click', () => {
    still = !still;
    pause.setAttribute('aria-pressed', still);
    if (!still) refresh();
  });
  d.addEventListener('keydown', (e) => {
    if (e.key === '/' && e.target !== search && !e.ctrlKey && !e.metaKey && !e.altKey) {
      e.preventDefault();
      search.focus();
    }
  });
  const turn = () => { if (!still && !d.hidden) refresh(); };
  setInterval(turn, 5000);
  d.addEventListener('visibilitychange', turn);
  find();
})();
