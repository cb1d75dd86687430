// playwright-core: a context for each task, four at a time. Prints what cluster.mjs prints.
import { chromium } from 'playwright-core';

const [executablePath, url, tasks, concurrency] = process.argv.slice(2);
const browser = await chromium.launch({ executablePath, args: ['--no-sandbox', '--disable-gpu'] });
let failed = 0;
const task = async () => {
  try {
    const context = await browser.newContext();
    const page = await context.newPage();
    await page.goto(url);
    await page.title();
    await context.close();
  } catch { failed += 1; }
};
await task();
console.log('begin');
const started = performance.now();
const cpu = process.cpuUsage();
let left = Number(tasks);
const worker = async () => { while (left > 0) { left -= 1; await task(); } };
await Promise.all(Array.from({ length: Number(concurrency) }, worker));
const wall = (performance.now() - started) / 1000;
const used = process.cpuUsage(cpu);
const memory = process.resourceUsage().maxRSS / 1024;
console.log(JSON.stringify({ wall, client: (used.user + used.system) / 1e6, memory, failed }));
process.stdin.once('data', async () => { await browser.close(); process.exit(0); });
