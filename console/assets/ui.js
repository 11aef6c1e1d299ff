// Behaviour of the dashboard. Everything can be read without it.
// Settings of elements are made through properties (CSSOM), which `style-src 'self'` allows.
(() => {
  const $ = (s, from = document) => from.querySelector(s);
  const $$ = (s, from = document) => [...from.querySelectorAll(s)];
  const root = document.documentElement;

  // Theme: the server writes data-theme from the cookie that is set here. A report has no server.
  const setTheme = t => { if (t === 'light' || t === 'dark') root.dataset.theme = t; else delete root.dataset.theme; };
  for (const s of $$('[data-theme-select]')) {
    s.value = root.dataset.theme || 'system';
    s.addEventListener('change', () => {
      const secure = location.protocol === 'https:' ? '; Secure' : '';
      if (s.dataset.cookiePath) document.cookie = `nucleus-theme=${s.value}; Path=${s.dataset.cookiePath}; Max-Age=31536000; SameSite=Lax${secure}`;
      setTheme(s.value);
      draw();
    });
  }

  // Times in the reader's zone. The server renders UTC and says so.
  const two = n => String(n).padStart(2, '0');
  const clock = (d, seconds) => `${two(d.getHours())}:${two(d.getMinutes())}${seconds ? ':' + two(d.getSeconds()) : ''}`;
  const months = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];
  const day = d => `${d.getDate()} ${months[d.getMonth()]} ${d.getFullYear()}`;
  const shows = { s: d => clock(d, true), m: d => clock(d), d: day, ds: d => `${day(d)}, ${clock(d, true)}` };
  function localTimes() {
    for (const t of $$('time[datetime], [data-at]')) {
      const d = new Date(t.dataset.at || t.dateTime);
      if (isNaN(d)) continue;
      t.textContent = (shows[t.dataset.show] || shows.m)(d);
      if (t.dateTime) t.title = d.toLocaleString();
    }
    for (const z of $$('[data-zone]')) z.textContent = 'your zone';
  }
  localTimes();

  // What came of a form is said once: not again when the page is loaded again, or from a bookmark.
  if ($('.toasts .toast')) {
    const here = new URL(location.href);
    for (const name of ['done', 'failed']) here.searchParams.delete(name);
    history.replaceState(history.state, '', here);
  }

  const toast = text => {
    const box = $('.toasts');
    if (!box) return;
    const t = document.createElement('div');
    t.className = 'toast';
    t.textContent = text;
    box.append(t);
    setTimeout(() => t.remove(), 6000);
  };

  document.addEventListener('click', e => {
    const copy = e.target.closest('[data-copy]');
    if (copy) {
      const text = copy.dataset.copy || $('code', copy.parentElement).textContent;
      navigator.clipboard?.writeText(text).then(() => toast('Copied'), () => toast('Copy failed. Select the text and press Ctrl+C.'));
    }
    const open = e.target.closest('[data-dialog]');
    if (open) {
      const d = document.getElementById(open.dataset.dialog);
      for (const slot of $$('[data-who]', d)) slot.textContent = open.dataset.name || slot.textContent;
      if (open.dataset.action) $('form', d).action = open.dataset.action;
      d.showModal();
    }
    const close = e.target.closest('[data-close]');
    if (close) close.closest('dialog, .toast')[close.closest('dialog') ? 'close' : 'remove']();
  });
  // "/" jumps to the search field, as on many pages with lists.
  document.addEventListener('keydown', e => {
    if (e.key === '/' && !/^(INPUT|TEXTAREA|SELECT)$/.test(e.target.tagName)) {
      const s = $('input[type=search]');
      if (s) { e.preventDefault(); s.focus(); }
    }
  });

  // A row of the roster and its head in the plan light up together. Rows are replaced each second, so the
  // page listens, not the rows.
  const light = on => e => {
    const row = e.target.closest?.('[data-peer]');
    if (!row) return;
    row.classList.toggle('on', on);
    document.getElementById(row.dataset.peer)?.classList.toggle('on', on);
  };
  document.addEventListener('pointerover', light(true));
  document.addEventListener('pointerout', light(false));
  document.addEventListener('focusin', light(true));
  document.addEventListener('focusout', light(false));

  // Charts. <figure class="chart" data-unit="ms"> holds .plot, .read and a JSON block:
  // { x, time, xunit, limit, series: [{ label, data, color, dash }] }.
  const probe = document.createElement('i');
  probe.hidden = true;
  document.body.append(probe);
  const color = name => { probe.style.color = `var(--${name})`; return getComputedStyle(probe).color; };
  const format = (v, unit) => v == null ? '–' : `${(v >= 100 ? Math.round(v) : +v.toPrecision(3)).toLocaleString('en')}\u00a0${unit}`.trim();
  const dashes = [[], [6, 3], [2, 3], [8, 3, 2, 3]];
  let plots = [];
  function draw() {
    if (!window.uPlot) return;
    for (const p of plots) p.destroy();
    plots = [];
    for (const f of $$('.chart')) {
      const box = $('.plot', f), read = $('.read', f), unit = f.dataset.unit || '';
      if (!box) continue;
      const spec = JSON.parse($('script', f).textContent);
      if (!spec.x.length) continue;
      const text = color('text'), muted = color('muted'), line = color('line'), bad = color('bad');
      const font = '12px system-ui, sans-serif';
      const rest = spec.at ?? spec.x.length - 1;
      box.setAttribute('role', 'slider');
      box.tabIndex = 0;
      box.setAttribute('aria-valuemin', 0);
      box.setAttribute('aria-valuemax', spec.x.length - 1);
      const say = (u, i) => {
        if (i == null) i = rest;
        const at = spec.time ? clock(new Date(spec.x[i] * 1000)) : `${spec.x[i].toLocaleString('en')} ${spec.xunit}`;
        const words = `${at}: ${spec.series.map(s => `${s.label} ${format(s.data[i], unit)}`).join(' · ')}`;
        read.textContent = words;
        box.setAttribute('aria-valuetext', words);
        box.setAttribute('aria-valuenow', i);
      };
      const max = Math.max(spec.limit || 0, ...spec.series.flatMap(s => s.data.map(v => v ?? 0))) * 1.12;
      const pad = 14 + 6.6 * Math.max(...spec.series.map(s => s.label.length), spec.limit ? 7 + unit.length + String(spec.limit).length : 0);
      const u = new uPlot({
        width: box.clientWidth, height: box.clientHeight, padding: [8, pad, 0, 0],
        legend: { show: false }, cursor: { y: false, points: { size: 7 } },
        scales: { x: { time: !!spec.time }, y: { range: [0, max || 1] } },
        axes: [
          { stroke: muted, font, grid: { show: false }, ticks: { show: false }, size: 30, gap: 8, space: 46,
            values: (u, v) => v.map(t => spec.time ? clock(new Date(t * 1000)) : t.toLocaleString('en')) },
          { stroke: muted, font, grid: { stroke: line, width: 1 }, ticks: { show: false }, size: 14 + 7 * (String(Math.round(max)).length + (max < 1 ? 3 : max < 10 ? 2 : 0) + unit.length), space: 34, gap: 4,
            values: (u, v) => v.map(t => `${t.toLocaleString('en')} ${unit}`) },
        ],
        series: [{}, ...spec.series.map((s, i) => ({
          stroke: color(s.color || `series-${i + 1}`), width: 1.75, dash: dashes[i], points: { show: !spec.time, size: 5, fill: color('surface') } }))],
        hooks: {
          setCursor: [u => say(u, u.cursor.idx)],
          draw: [u => {
            const c = u.ctx, r = devicePixelRatio, right = u.bbox.left + u.bbox.width;
            c.save();
            c.font = `${12 * r}px system-ui, sans-serif`; c.textBaseline = 'middle'; c.textAlign = 'left';
            const labels = [];
            const put = (y, words, ink) => labels.push({ y, words, ink });
            if (spec.at != null) {
              const x = u.valToPos(spec.x[spec.at], 'x', true);
              c.strokeStyle = muted; c.lineWidth = r; c.setLineDash([r, 3 * r]);
              c.beginPath(); c.moveTo(x, u.bbox.top); c.lineTo(x, u.bbox.top + u.bbox.height); c.stroke();
            }
            if (spec.limit) {
              const y = u.valToPos(spec.limit, 'y', true);
              c.strokeStyle = bad; c.lineWidth = r; c.setLineDash([3 * r, 3 * r]);
              c.beginPath(); c.moveTo(u.bbox.left, y); c.lineTo(right, y); c.stroke();
              put(y, `limit ${spec.limit} ${unit}`, bad);
            }
            spec.series.forEach((s, i) => {
              // At the newest value that there is; a series without any has no line either.
              const last = s.data.findLast(v => v != null);
              if (last != null) put(u.valToPos(last, 'y', true), s.label, color(s.color || `series-${i + 1}`));
            });
            // From the top down, each label at least a line below the one before.
            let last = -Infinity;
            for (const l of labels.sort((a, b) => a.y - b.y)) {
              last = Math.max(l.y, last + 14 * r);
              c.fillStyle = l.ink;
              c.fillText(l.words, right + 8 * r, last);
            }
            c.restore();
          }],
        },
      }, [spec.x, ...spec.series.map(s => s.data)], box);
      say(u, null);
      box.onkeydown = e => {
        const step = { ArrowLeft: -1, ArrowRight: 1, Home: -1e6, End: 1e6 }[e.key];
        if (!step) return;
        e.preventDefault();
        const i = Math.min(spec.x.length - 1, Math.max(0, (u.cursor.idx ?? rest) + step));
        u.setCursor({ left: u.valToPos(spec.x[i], 'x'), top: 10 });
      };
      plots.push(u);
    }
  }
  draw();
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', draw);
  let width = innerWidth, wait;
  addEventListener('resize', () => { if (innerWidth !== width) { width = innerWidth; clearTimeout(wait); wait = setTimeout(draw, 150); } });

  // Live parts: htmx replaces them each second. Times are UTC again then, and a chart may have new data.
  let drawn = charts();
  function charts() { return $$('.chart script').map(e => e.textContent).join('\n'); }
  const fresh = () => {
    localTimes();
    const now = charts();
    if (now !== drawn) { drawn = now; draw(); }
  };
  document.addEventListener('htmx:after:swap', fresh);
  document.addEventListener('htmx:sse:after:message', fresh);
  // The badge "Live" says when the stream is broken, and htmx connects again; or that what the page shows has ended.
  const live = ok => {
    for (const badge of $$('[data-live]')) {
      badge.classList.toggle('live', ok);
      badge.classList.toggle('good', ok);
      badge.classList.toggle('idle', !ok);
      badge.textContent = ok ? 'Live' : $('[data-ended]') ? 'Ended' : 'Not live';
    }
  };
  document.addEventListener('htmx:sse:after:connection', () => live(true));
  document.addEventListener('htmx:sse:error', e => {
    live(false);
    // The session has ended: the page leads to the sign-in, and shows nothing old.
    if (e.detail?.status === 401) location.reload();
  });
  document.addEventListener('htmx:sse:close', () => live(false));
})();
