// puppeteer-cluster: a context for each task, four at a time. Prints wall and client CPU seconds, and
// the peak resident memory of this process in MiB.
import { Cluster } from 'puppeteer-cluster';
import puppeteer from 'puppeteer-core';

const [executablePath, url, tasks, concurrency, userDataDir] = process.argv.slice(2);
const cluster = await Cluster.launch({
  puppeteer,
  concurrency: Cluster.CONCURRENCY_CONTEXT,
  maxConcurrency: Number(concurrency),
  puppeteerOptions: {
    executablePath,
    userDataDir,
    headless: true,
    args: ['--no-sandbox', '--disable-gpu'],
  },
});
let failed = 0;
cluster.on('taskerror', () => { failed += 1; });
await cluster.task(async ({ page, data }) => {
  await page.goto(data);
  await page.title();
});
cluster.queue(url);
await cluster.idle();
console.log('begin');
const started = performance.now();
const cpu = process.cpuUsage();
for (let task = 0; task < Number(tasks); task += 1) cluster.queue(url);
await cluster.idle();
const wall = (performance.now() - started) / 1000;
const used = process.cpuUsage(cpu);
const memory = process.resourceUsage().maxRSS / 1024;
console.log(JSON.stringify({ wall, client: (used.user + used.system) / 1e6, memory, failed }));
process.stdin.once('data', async () => { await cluster.close(); process.exit(0); });
