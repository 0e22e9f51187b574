// Checks every page in Chromium. Arguments: the JSON file that tests/it/browser.rs writes, and
// optionally a folder for screenshots. Prints problems and exits with status 1.

import { createRequire } from 'node:module';
import { readFileSync } from 'node:fs';

// Installed by .ci/tools, outside the sources.
const require = createRequire(`${process.env.WICKR_TEST_NODE}/package.json`);
const { chromium } = require('playwright-core');
const { default: AxeBuilder } = require('@axe-core/playwright');

const [plan, pictures] = process.argv.slice(2);
const { chromium: executablePath, sites } = JSON.parse(readFileSync(plan, 'utf8'));
const problems = [];
let visited = 0;

const browser = await chromium.launch({
  executablePath,
  args: [
    '--no-sandbox', '--disable-gpu', '--no-first-run', '--disable-background-networking',
    '--disable-component-update', '--disable-sync',
  ],
});

// Opens a page and records the problems that the browser reports.
async function open(site, path, options, visit) {
  const where = `${site.name} ${path} ${JSON.stringify(options)}`;
  const context = await browser.newContext(options);
  const page = await context.newPage();
  const expected = path.includes('nonsense') ? 400 : 200;
  page.on('console', message => {
    // The browser logs the expected error status.
    if (expected === 200 || !message.text().includes('400')) {
      problems.push(`${where}: console: ${message.text()}`);
    }
  });
  page.on('pageerror', error => problems.push(`${where}: ${error}`));
  page.on('dialog', dialog => { problems.push(`${where}: opens a dialog`); dialog.dismiss(); });
  page.on('request', request => {
    if (!request.url().startsWith(site.base)) problems.push(`${where}: requests ${request.url()}`);
  });
  page.on('response', response => {
    // A submitted form redirects.
    if (![200, 303].includes(response.status()) && response.url() !== site.base + path) {
      problems.push(`${where}: ${response.status()} for ${response.url()}`);
    }
  });
  try {
    const response = await page.goto(site.base + path);
    if (response.status() !== expected) problems.push(`${where}: status ${response.status()}`);
    await visit(page, where);
    visited += 1;
  } catch (error) {
    problems.push(`${where}: ${error}`);
  }
  await context.close();
}

// Checks the page in one layout. In the dark scheme, only colours differ.
async function check(page, where, { axe, rules }) {
  if (axe) {
    // Without the mode for frames of other origins, which opens a second page.
    const builder = new AxeBuilder({ page }).setLegacyMode();
    const { violations } = await (rules ? builder.withRules(rules) : builder).analyze();
    for (const { id, help, nodes } of violations) {
      const node = nodes[0];
      problems.push(`${where}: axe ${id}: ${help}: ${node.html} ${node.failureSummary}`);
    }
  }
  const [width, available] = await page.evaluate(
    () => [document.documentElement.scrollWidth, document.documentElement.clientWidth]);
  if (width > available) problems.push(`${where}: ${width} px wide in ${available}`);
  if (await page.locator('script').count() > 0) problems.push(`${where}: has a script`);
  for (const handler of ['onclick', 'onload', 'onerror']) {
    if (await page.locator(`[${handler}]`).count() > 0) problems.push(`${where}: has ${handler}`);
  }
  if (await page.locator('h1').count() !== 1) problems.push(`${where}: needs one h1`);
}

const layouts = [
  { width: 390, colorScheme: 'light', axe: true },
  // The others include this layout.
  { width: 800, colorScheme: 'light' },
  { width: 1000, colorScheme: 'light' },
  { width: 1400, colorScheme: 'light', axe: true },
  { width: 1400, colorScheme: 'dark', axe: true, rules: ['color-contrast'] },
];

for (const site of sites) {
  for (const path of site.paths) {
    await open(site, path, { colorScheme: 'light' }, async (page, where) => {
      for (const layout of layouts) {
        const { width, colorScheme } = layout;
        await page.setViewportSize({ width, height: 900 });
        await page.emulateMedia({ colorScheme });
        await check(page, `${where} ${width} px ${colorScheme}`, layout);
        if (pictures) {
          const name = `${site.name}${path.replace(/\W+/g, '_')}-${width}-${colorScheme}.png`;
          await page.screenshot({ path: `${pictures}/${name}`, fullPage: true });
        }
      }
    });
    // Pages work without JavaScript.
    await open(site, path, { javaScriptEnabled: false }, async (page, where) => {
      for (const text of site.texts[path] ?? []) {
        const shown = await page.locator('main').innerText();
        if (!shown.includes(text)) problems.push(`${where}: does not show ${text}: ${shown.slice(0, 500)}`);
      }
    });
  }
}

// Filters with the keyboard, without JavaScript.
for (const site of sites.filter(site => site.keyboard)) {
  await open(site, '/devices', { javaScriptEnabled: false }, async (page, where) => {
    const reached = [];
    const focused = () => page.locator(':focus').evaluate(e => e.name || e.innerText.trim());
    for (let i = 0; i < 80; i += 1) {
      await page.keyboard.press('Tab');
      const name = await focused();
      reached.push(name);
      if (name === 'idle_over') await page.keyboard.type('30d');
      if (name === 'suspended') await page.keyboard.press('ArrowDown');
      const value = await page.locator(':focus').evaluate(e => e.value);
      if (name === 'device_type' && value === 'iOS') await page.keyboard.press('Space');
      if (name === 'Show') break;
    }
    for (const name of ['Skip to content', 'Devices', 'network_id', 'user_id', 'idle_over',
      'idle_up_to', 'suspended', 'reset', 'never_logged_in', 'freshness', 'limit', 'device_type',
      'status', 'Show']) {
      if (!reached.includes(name)) problems.push(`${where}: the keyboard does not reach ${name}: ${reached}`);
    }
    await Promise.all([page.waitForURL(/idle_over/), page.keyboard.press('Enter')]);
    const address = page.url().replace(site.base, '');
    if (address !== site.keyboard.address) problems.push(`${where}: leads to ${address}`);
    const count = await page.locator('.results h2').innerText();
    if (count !== site.keyboard.count) problems.push(`${where}: finds ${count}`);
    // Column headers sort the table.
    await page.locator('thead a', { hasText: 'User' }).first().press('Enter');
    await page.waitForURL(/sort=user_id/);
    const sorted = await page.locator('th[aria-sort]').evaluateAll(
      heads => heads.map(head => `${head.innerText.trim()} ${head.ariaSort}`));
    if (sorted.join() !== 'User ascending') problems.push(`${where}: sorted by ${sorted}`);
  });
  // The form is not printed.
  await open(site, '/devices', {}, async (page, where) => {
    await page.emulateMedia({ media: 'print' });
    if (await page.locator('form').isVisible()) problems.push(`${where}: prints the form`);
    if (!await page.locator('table').isVisible()) problems.push(`${where}: does not print the table`);
  });
}

await browser.close();
for (const line of problems) console.log(line);
console.log(`${visited} pages, ${problems.length} problems`);
process.exit(problems.length > 0 || visited === 0 ? 1 : 0);
