// Keeps the partner's list of exchanges as it is: when the node tells that one has come further, this page is asked for
// again and its list is put in place of the one that is shown. Without it the page shows the same when it is loaded.
'use strict';
(() => {
  const list = document.getElementById('exchanges');
  const status = document.getElementById('live');
  if (!list || !status || !window.EventSource) return;
  const PAUSE_MS = 1000;
  // pages of this node alone become parts of the page
  const same = { createHTML: text => text };
  const policy = window.trustedTypes?.createPolicy('node', same) ?? same;
  let due = false;
  let waits = false;

  const show = async () => {
    due = false;
    const answer = await fetch(location.href, { redirect: 'error' });
    if (!answer.ok) return;
    const page = new DOMParser().parseFromString(policy.createHTML(await answer.text()), 'text/html');
    const found = page.getElementById('exchanges');
    // who is at a link of the list keeps it
    if (found && !list.contains(document.activeElement)) list.replaceChildren(...found.childNodes);
    else due = true;
  };
  // at most once in a while, however much happens
  const soon = () => {
    due = true;
    if (waits) return;
    waits = true;
    setTimeout(async () => {
      // the session is over, or the node away: the stream says so
      await show().catch(() => {});
      waits = false;
      if (due && !list.contains(document.activeElement)) soon();
    }, PAUSE_MS);
  };
  list.addEventListener('focusout', () => { if (due) soon(); });

  const events = new EventSource('/partner/events');
  events.addEventListener('open', () => { status.textContent = status.dataset.on; });
  for (const kind of ['exchange.state', 'stream.reset']) events.addEventListener(kind, soon);
  events.addEventListener('error', () => {
    status.textContent = events.readyState === EventSource.CLOSED ? status.dataset.over : status.dataset.away;
  });
})();
