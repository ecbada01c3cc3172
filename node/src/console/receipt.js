// Verifies a receipt in the browser: c2sp.org/tlog-proof@v1, with the extra line that opens its entry (protocol/spec/log.md and
// block.md). Nothing leaves the page. Keys are those of the constitutions that the page brought along.
'use strict';
(() => {
  const part = document.getElementById('receipt');
  if (!part) return;
  const alliance = JSON.parse(part.dataset.alliance);
  const RECEIPT_MAX = 1 << 20;
  const encoder = new TextEncoder();
  // what is wrong, by the name of the sentence on the page that says it
  class Wrong extends Error {}
  const wrong = what => { throw new Wrong(what); };
  const joined = (...parts) => new Uint8Array(parts.flatMap(it => [...(typeof it === 'string' ? encoder.encode(it) : it)]));
  const sha256 = async (...parts) => new Uint8Array(await crypto.subtle.digest('SHA-256', joined(...parts)));
  const same = (one, other) => one.length === other.length && one.every((byte, at) => byte === other[at]);
  const bytes = text => {
    if (!/^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/.test(text)) wrong('form');
    return Uint8Array.from(atob(text), it => it.charCodeAt(0));
  };
  const number = text => /^(0|[1-9][0-9]{0,18})$/.test(text) ? BigInt(text) : wrong('form');
  const big = value => {
    const out = new Uint8Array(8);
    new DataView(out.buffer).setBigUint64(0, value);
    return out;
  };

  // --- CBOR (RFC 8949) as the ledger writes it: whole numbers, bytes, texts, arrays, each in its shortest form

  const cbor = all => {
    let at = 0;
    const take = count => {
      if (at + count > all.length) wrong('form');
      return all.subarray(at, at += count);
    };
    const item = depth => {
      if (depth > 8) wrong('form');
      const first = take(1)[0];
      const [kind, small] = [first >> 5, first & 31];
      if (small > 27) wrong('form');
      const value = small < 24 ? BigInt(small) : take(1 << (small - 24)).reduce((sum, byte) => sum << 8n | BigInt(byte), 0n);
      if (kind === 0) return value;
      if (kind > 4 || kind === 1 || value > BigInt(all.length)) wrong('form');
      if (kind === 4) return Array.from({ length: Number(value) }, () => item(depth + 1));
      const content = take(Number(value));
      return kind === 2 ? content : new TextDecoder('utf-8', { fatal: true }).decode(content);
    };
    const value = item(0);
    return at === all.length ? value : wrong('form');
  };

  // --- signed notes and the tree (c2sp.org/signed-note, c2sp.org/tlog-cosignature, RFC 9162 section 2.1.3.2)

  const verifier = async text => {
    const [, name, id, key] = text.match(/^([^+]+)\+([0-9a-f]{8})\+(.+)$/);
    const material = bytes(key);
    const mine = await crypto.subtle.importKey('raw', material.subarray(1), 'Ed25519', false, ['verify']).catch(() => wrong('browser'));
    return { name, id: Uint8Array.from(id.match(/../g), it => parseInt(it, 16)), kind: material[0], key: mine };
  };
  const signed = async (note, known) => {
    const line = note.lines.find(it => it.name === known.name && same(it.bytes.subarray(0, 4), known.id));
    if (!line) return false;
    const rest = line.bytes.subarray(4);
    if (known.kind === 1) return crypto.subtle.verify('Ed25519', known.key, rest, encoder.encode(note.text));
    if (known.kind !== 4 || rest.length !== 72) return false;
    const seconds = new DataView(rest.slice(0, 8).buffer).getBigUint64(0);
    const text = 'cosignature/v1\ntime ' + seconds + '\n' + note.text;
    return crypto.subtle.verify('Ed25519', known.key, rest.subarray(8), encoder.encode(text));
  };
  const root = async (leaf, index, size, path) => {
    if (index >= size) wrong('proof');
    let [node, at, last] = [await sha256([0], leaf), index, size - 1n];
    for (const beside of path) {
      if (last === 0n) wrong('proof');
      if (at & 1n || at === last) {
        node = await sha256([1], beside, node);
        while (!(at & 1n) && at !== 0n) { at >>= 1n; last >>= 1n; }
      } else {
        node = await sha256([1], node, beside);
      }
      at >>= 1n;
      last >>= 1n;
    }
    return last === 0n ? node : wrong('proof');
  };

  const parsed = text => {
    if (text.length > RECEIPT_MAX) wrong('form');
    const parts = text.split('\n\n');
    if (parts.length !== 3) wrong('form');
    const head = parts[0].split('\n');
    if (head.shift() !== 'c2sp.org/tlog-proof@v1') wrong('form');
    const extra = head[0]?.startsWith('extra ') ? bytes(head.shift().slice(6)) : null;
    const index = head[0]?.startsWith('index ') ? number(head.shift().slice(6)) : wrong('form');
    const path = head.map(bytes);
    const body = parts[1].split('\n');
    const lines = parts[2].split('\n').filter(Boolean).map(line => {
      const found = line.match(/^\u2014 (\S+) (\S+)$/) ?? wrong('form');
      return { name: found[1], bytes: bytes(found[2]) };
    });
    if (path.some(it => it.length !== 32) || path.length > 63 || body.length < 3) wrong('form');
    return { extra, index, path, origin: body[0], size: number(body[1]), root: bytes(body[2]), note: { text: parts[1] + '\n', lines } };
  };

  // --- the entry

  const opened = async (log, nonce, cipher, key, leaf, index) => {
    const [kind, [entry]] = cbor(leaf);
    if (kind !== 2n) wrong('closed');
    const [commitment, ciphertext] = entry;
    if (!same(commitment, await sha256('coalition/0/sealed/entry-commitment', key))) wrong('key');
    if (cipher !== 1n) wrong('cipher');
    const place = joined('coalition/0/sealed/entry', log, [0], nonce, [0, Number(cipher)], big(index));
    const mine = await crypto.subtle.importKey('raw', key, 'AES-GCM', false, ['decrypt']);
    const how = { name: 'AES-GCM', iv: new Uint8Array(12), additionalData: place };
    const plain = new Uint8Array(await crypto.subtle.decrypt(how, mine, ciphertext).catch(() => wrong('key')));
    const length = plain[0] << 8 | plain[1];
    if (length + 2 > plain.length || plain.subarray(2 + length).some(byte => byte !== 0)) wrong('key');
    return cbor(plain.subarray(2, 2 + length));
  };

  const verified = async text => {
    const receipt = parsed(text.replace(/\r\n/g, '\n'));
    const brand = alliance.brands.find(it => it.origin === receipt.origin) ?? wrong('stranger');
    if (!receipt.extra) wrong('closed');
    const [log, nonce, cipher, key, leaf] = cbor(receipt.extra);
    if (log !== brand.brand) wrong('stranger');
    if (!same(await root(leaf, receipt.index, receipt.size, receipt.path), receipt.root)) wrong('proof');
    const keys = await Promise.all(brand.log.map(verifier));
    const by_log = await Promise.all(keys.map(it => signed(receipt.note, it)));
    if (!by_log.includes(true)) wrong('signature');
    const witnesses = [];
    for (const other of alliance.brands.filter(it => it !== brand)) {
      for (const known of other.witness) {
        if (await signed(receipt.note, await verifier(known))) { witnesses.push(other.name); break; }
      }
    }
    const shown = { log: brand.name, index: receipt.index, size: receipt.size, witnesses: witnesses.join(', ') || '–' };
    const enough = witnesses.length + 1 >= alliance.quorum;
    const [what, [said]] = await opened(log, nonce, cipher, key, leaf, receipt.index);
    if (what === 1n) Object.assign(shown, { sent: said[2], received: said[3], owed: said[4] });
    if (what === 2n) Object.assign(shown, { returned: said[3] });
    return { outcome: enough ? 'sound' : 'few', shown };
  };

  // --- the page

  const tell = ({ outcome, shown }) => {
    part.querySelectorAll('[data-outcome]').forEach(it => { it.hidden = it.dataset.outcome !== outcome; });
    part.querySelectorAll('[data-shown]').forEach(it => {
      const value = shown?.[it.dataset.shown];
      it.parentElement.hidden = value === undefined;
      it.textContent = value === undefined ? '' : String(value);
    });
    document.getElementById('shown').hidden = !shown;
  };
  const check = async text => {
    try {
      tell(await verified(text));
    } catch (error) {
      tell({ outcome: error instanceof Wrong ? error.message : 'form' });
    }
  };
  const text = document.getElementById('text');
  document.getElementById('file').addEventListener('change', async event => {
    const file = event.target.files[0];
    if (!file) return;
    text.value = file.size > RECEIPT_MAX ? '' : await file.text();
    check(text.value);
  });
  part.querySelector('form').addEventListener('submit', event => {
    event.preventDefault();
    check(text.value);
  });
})();
