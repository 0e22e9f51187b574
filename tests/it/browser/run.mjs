// A real browser over every page. Arguments: a file of JSON as tests/it/browser.rs writes it, and
// a folder for pictures, if somebody wants to look at them. What is wrong is printed and is exit
// status 1.

import { createRequire } from 'node:module';
import { readFileSync } from 'node:fs';

// Installed by .ci/tools, outside the sources.
const require = createRequire(`${process.env.WICKR_TEST_NODE}/package.json`);
const { chromium } = require('playwright-core');
const { default: AxeBuilder } = require('@axe-core/playwright');

const [plan, pictures] = process.argv.slice(2);
const { chromium: executablePath, sites } = JSON.parse(readFileSync(plan, 'utf8'));
const wrong = [];
let looked = 0;

const browser = await chromium.launch({
  executablePath,
  args: [
    '--no-sandbox', '--disable-gpu', '--no-first-run', '--disable-background-networking',
    '--disable-component-update', '--disable-sync',
  ],
});

// Opens a page, and takes down whatever the browser complains about.
async function open(site, path, options, visit) {
  const where = `${site.name} ${path} ${JSON.stringify(options)}`;
  const context = await browser.newContext(options);
  const page = await context.newPage();
  const expected = path.includes('nonsense') ? 400 : 200;
  page.on('console', message => {
    // The browser itself says so of the status that is expected.
    if (expected === 200 || !message.text().includes('400')) {
      wrong.push(`${where}: console: ${message.text()}`);
    }
  });
  page.on('pageerror', error => wrong.push(`${where}: ${error}`));
  page.on('dialog', dialog => { wrong.push(`${where}: a dialog opened`); dialog.dismiss(); });
  page.on('request', request => {
    if (!request.url().startsWith(site.base)) wrong.push(`${where}: asks for ${request.url()}`);
  });
  page.on('response', response => {
    // A form's answer leads to a shorter address.
    if (![200, 303].includes(response.status()) && response.url() !== site.base + path) {
      wrong.push(`${where}: ${response.status()} for ${response.url()}`);
    }
  });
  try {
    const answer = await page.goto(site.base + path);
    if (answer.status() !== expected) wrong.push(`${where}: status ${answer.status()}`);
    await visit(page, where);
    looked += 1;
  } catch (error) {
    wrong.push(`${where}: ${error}`);
  }
  await context.close();
}

async function judge(page, where, axe) {
  if (axe) {
    const { violations } = await new AxeBuilder({ page }).analyze();
    for (const { id, help, nodes } of violations) {
      const node = nodes[0];
      wrong.push(`${where}: axe ${id}: ${help}: ${node.html} ${node.failureSummary}`);
    }
  }
  const [wide, room] = await page.evaluate(
    () => [document.documentElement.scrollWidth, document.documentElement.clientWidth]);
  if (wide > room) wrong.push(`${where}: ${wide} px wide in ${room}`);
  if (await page.locator('script').count() > 0) wrong.push(`${where}: there is a script`);
  for (const handler of ['onclick', 'onload', 'onerror']) {
    if (await page.locator(`[${handler}]`).count() > 0) wrong.push(`${where}: has ${handler}`);
  }
  if (await page.locator('h1').count() !== 1) wrong.push(`${where}: needs one h1`);
}

for (const site of sites) {
  for (const path of site.paths) {
    for (const [width, colorScheme] of [[390, 'light'], [800, 'light'], [1400, 'light'], [1400, 'dark']]) {
      const options = { colorScheme, viewport: { width, height: 900 } };
      await open(site, path, options, async (page, where) => {
        // In between, the page is one of the two others.
        await judge(page, where, width !== 800);
        if (pictures) {
          const name = `${site.name}${path.replace(/\W+/g, '_')}-${width}-${colorScheme}.png`;
          await page.screenshot({ path: `${pictures}/${name}`, fullPage: true });
        }
      });
    }
    // Without scripts, there is the same to see.
    await open(site, path, { javaScriptEnabled: false }, async (page, where) => {
      for (const text of site.texts[path] ?? []) {
        const seen = await page.locator('main').innerText();
        if (!seen.includes(text)) wrong.push(`${where}: does not say ${text}: ${seen.slice(0, 500)}`);
      }
    });
  }
}

// Filters by keyboard alone, with scripts switched off.
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
      if (!reached.includes(name)) wrong.push(`${where}: the keyboard does not reach ${name}: ${reached}`);
    }
    await Promise.all([page.waitForURL(/idle_over/), page.keyboard.press('Enter')]);
    const address = page.url().replace(site.base, '');
    if (address !== site.keyboard.address) wrong.push(`${where}: leads to ${address}`);
    const count = await page.locator('.results h2').innerText();
    if (count !== site.keyboard.count) wrong.push(`${where}: finds ${count}`);
    // A column's head sorts by it.
    await page.locator('thead a', { hasText: 'User' }).first().press('Enter');
    await page.waitForURL(/sort=user_id/);
    const sorted = await page.locator('th[aria-sort]').evaluateAll(
      heads => heads.map(head => `${head.innerText.trim()} ${head.ariaSort}`));
    if (sorted.join() !== 'User ascending') wrong.push(`${where}: sorted by ${sorted}`);
  });
  // On paper, there is no form.
  await open(site, '/devices', {}, async (page, where) => {
    await page.emulateMedia({ media: 'print' });
    if (await page.locator('form').isVisible()) wrong.push(`${where}: prints the form`);
    if (!await page.locator('table').isVisible()) wrong.push(`${where}: does not print the table`);
  });
}

await browser.close();
for (const line of wrong) console.log(line);
console.log(`${looked} pages were looked at, ${wrong.length} things are wrong`);
process.exit(wrong.length > 0 || looked === 0 ? 1 : 0);
