// What is wrong with the page that is shown, as far as a program can tell: words of it, each naming an element.
const wrong = [];
const name = it => it.outerHTML.replace(/\s+/g, ' ').slice(0, 90);
const all = what => [...document.querySelectorAll(what)];
const shown = it => it.checkVisibility();
const words = it => (it.getAttribute('aria-label') || it.innerText || '').trim();

if (!document.title.trim()) wrong.push('no title');
if (!['zh-Hans', 'zh-CN', 'zh', 'en'].includes(document.documentElement.lang)) wrong.push('no language');
if (all('h1').length !== 1) wrong.push(all('h1').length + ' first headings');
if (!document.querySelector('main')) wrong.push('no main part');
const root = document.documentElement;
if (root.scrollWidth > root.clientWidth + 1) {
  wrong.push('wider than the screen: ' + root.scrollWidth + ' of ' + root.clientWidth);
  all('main *').filter(it => shown(it) && it.getBoundingClientRect().right > root.clientWidth + 1 && !it.closest('.scroll, pre, details:not([open])'))
    .slice(0, 3).forEach(it => wrong.push('reaches out: ' + name(it)));
}
const ids = all('[id]').map(it => it.id);
ids.filter((id, at) => ids.indexOf(id) !== at).forEach(id => wrong.push('twice the id ' + id));
for (const attribute of ['for', 'aria-labelledby', 'aria-describedby']) {
  all('[' + attribute + ']').flatMap(it => it.getAttribute(attribute).split(/\s+/)).filter(id => !document.getElementById(id))
    .forEach(id => wrong.push(attribute + ' names nothing: ' + id));
}
all('input:not([type=hidden]), select, textarea').filter(it => !it.labels.length && !it.getAttribute('aria-label') && !it.getAttribute('aria-labelledby'))
  .forEach(it => wrong.push('no label: ' + name(it)));
all('a, button').filter(it => shown(it) && !words(it)).forEach(it => wrong.push('no words: ' + name(it)));
all('svg').filter(it => !it.closest('[aria-hidden=true]') && !(it.getAttribute('role') === 'img' && (it.getAttribute('aria-label') || it.getAttribute('aria-labelledby'))))
  .forEach(it => wrong.push('a picture without words: ' + name(it)));
all('table').filter(it => !it.caption && !it.getAttribute('aria-label') && !it.getAttribute('aria-labelledby')).forEach(it => wrong.push('no caption: ' + name(it)));
all('th').filter(it => !it.scope).forEach(it => wrong.push('no scope: ' + name(it)));
all('.scroll').filter(it => it.tabIndex !== 0).forEach(it => wrong.push('cannot be scrolled with keys: ' + name(it)));

// contrast of words: WCAG 2.2, success criterion 1.4.3
const colour = text => {
  const numbers = (text.match(/[\d.]+/g) || []).map(Number);
  return { rgb: numbers.slice(0, 3), opacity: numbers.length > 3 ? numbers[3] : 1 };
};
const light = rgb => {
  const [red, green, blue] = rgb.map(it => it / 255).map(it => it <= 0.04045 ? it / 12.92 : ((it + 0.055) / 1.055) ** 2.4);
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
};
const ground = it => {
  for (let at = it; at; at = at.parentElement) {
    const { rgb, opacity } = colour(getComputedStyle(at).backgroundColor);
    if (opacity === 1) return rgb;
  }
  return matchMedia('(prefers-color-scheme: dark)').matches ? [0, 0, 0] : [255, 255, 255];
};
const dim = new Set();
for (const it of all('body *')) {
  const said = [...it.childNodes].some(node => node.nodeType === 3 && node.data.trim());
  if (!said || !shown(it) || it.closest('svg')) continue;
  const style = getComputedStyle(it);
  const [one, other] = [light(colour(style.color).rgb), light(ground(it))];
  const contrast = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
  const large = parseFloat(style.fontSize) >= 24;
  if (contrast < (large ? 3 : 4.5)) dim.add(contrast.toFixed(1) + ': ' + name(it));
}
[...dim].slice(0, 5).forEach(it => wrong.push('contrast ' + it));
return wrong;
