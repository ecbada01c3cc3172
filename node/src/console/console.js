// Makes the page of questions quicker to use: words and values of the data set while one types, and what a question would cost.
// Without it the page does the same by its button. It asks this node alone, and nothing that spends.
'use strict';
(() => {
  const sql = document.getElementById('sql');
  const list = document.getElementById('sql-words');
  const status = document.getElementById('preview-status');
  const preview = document.getElementById('preview');
  if (!sql || !list || !status || !preview) return;
  const SHOWN = 8;
  const PAUSE_MS = 500;
  // pages of this node alone become parts of the page
  const same = { createHTML: text => text };
  const policy = window.trustedTypes?.createPolicy('node', same) ?? same;
  // a value's column is after a tab
  const words = sql.dataset.words.split('\n').map(line => line.split('\t'));

  // --- words of the data set

  let chosen = -1;
  // what is begun before the cursor: a word or, within quotes, a value with its first quote
  const before = () => {
    const text = sql.value.slice(0, sql.selectionStart);
    const quoted = text.split("'").length % 2 === 0;
    return quoted ? text.slice(text.lastIndexOf("'")) : text.match(/[A-Za-z_][A-Za-z0-9_]*$/)?.[0] ?? '';
  };
  // values are those of the column that was named last
  const fitting = begun => {
    const text = sql.value.slice(0, sql.selectionStart - begun.length).toLowerCase();
    const has = name => words.some(([, of]) => of?.toLowerCase() === name);
    const column = begun.startsWith("'") ? text.match(/[a-z_][a-z0-9_]*/g)?.findLast(has) : undefined;
    return words.filter(([, of]) => of?.toLowerCase() === column).map(([word]) => word);
  };
  const options = () => [...list.children];
  const close = () => {
    list.hidden = true;
    chosen = -1;
    sql.removeAttribute('aria-activedescendant');
  };
  const take = word => {
    const start = sql.selectionStart - before().length;
    // a value brings its last quote: one that is there is not doubled
    const closes = word.startsWith("'") && sql.value[sql.selectionEnd] === "'";
    sql.setRangeText(word, start, sql.selectionEnd + Number(closes), 'end');
    close();
    sql.focus();
    ask();
  };
  const choose = at => {
    chosen = at;
    options().forEach((option, place) => option.setAttribute('aria-selected', String(place === at)));
    if (options()[at]) sql.setAttribute('aria-activedescendant', options()[at].id);
  };
  const open = all => {
    const begun = before().toLowerCase();
    const fits = word => word.toLowerCase().startsWith(begun) && word.toLowerCase() !== begun;
    const found = begun || all ? fitting(begun).filter(fits).slice(0, SHOWN) : [];
    if (!found.length || sql.selectionStart !== sql.selectionEnd) return close();
    list.replaceChildren(...found.map((word, place) => {
      const option = document.createElement('li');
      option.id = 'sql-word-' + place;
      option.role = 'option';
      option.textContent = word;
      // not on a click: the text would lose the focus before
      option.addEventListener('pointerdown', event => { event.preventDefault(); take(word); });
      return option;
    }));
    list.hidden = false;
    choose(-1);
    sql.removeAttribute('aria-activedescendant');
  };
  sql.addEventListener('keydown', event => {
    if (event.key === ' ' && event.ctrlKey) {
      event.preventDefault();
      open(true);
    } else if (list.hidden) {
      return;
    } else if (event.key === 'ArrowDown' || event.key === 'ArrowUp') {
      event.preventDefault();
      const count = options().length;
      choose(event.key === 'ArrowDown' ? (chosen + 1) % count : (Math.max(chosen, 0) + count - 1) % count);
    } else if (event.key === 'Escape') {
      close();
    } else if ((event.key === 'Enter' || event.key === 'Tab') && chosen >= 0) {
      event.preventDefault();
      take(options()[chosen].textContent);
    }
  });
  sql.addEventListener('blur', close);

  // --- what it would cost: the page's own form, planned and never asked

  let pause = 0;
  let under_way = null;
  const show = async () => {
    const form = sql.form;
    // not form.action: a field has that name
    if (!sql.value.trim()) return;
    under_way?.abort();
    under_way = new AbortController();
    const body = new URLSearchParams(new FormData(form));
    body.set('action', 'plan');
    try {
      const answer = await fetch(form.getAttribute('action'), { method: 'POST', body, signal: under_way.signal, redirect: 'error' });
      const page = new DOMParser().parseFromString(policy.createHTML(await answer.text()), 'text/html');
      const found = page.getElementById('preview');
      if (!found) return;
      // a half-written question is no alarm
      found.querySelectorAll('[role=alert]').forEach(it => it.removeAttribute('role'));
      preview.replaceChildren(...found.childNodes);
      status.textContent = page.getElementById('preview-status').textContent;
    } catch (error) {
      // typed on meanwhile; or the session is over, or the node away: the button says which
      if (error.name !== 'AbortError') status.textContent = '';
    }
  };
  const ask = () => {
    clearTimeout(pause);
    pause = setTimeout(show, PAUSE_MS);
  };
  sql.addEventListener('input', () => { open(false); ask(); });
  for (const id of ['scope', 'rho', 'stands', 'choose-bound']) document.getElementById(id)?.addEventListener('input', ask);
})();
