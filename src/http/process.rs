//! What the kernel says of this process, under the names that Prometheus' client libraries use.

use super::exposition::Page;

/// Adds the metrics; what the kernel does not say is left out.
pub(super) fn add(page: &mut Page) {
    let read = |name: &str| std::fs::read_to_string(format!("/proc/self/{name}")).unwrap_or_default();
    let stat = read("stat");
    let ticks = nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK).ok().flatten().filter(|t| *t > 0);
    // After the name, which is in brackets and may hold anything: fields 3 and on of proc(5).
    let fields: Vec<&str> = stat.rsplit_once(')').map(|(_, f)| f.split_whitespace().collect()).unwrap_or_default();
    let field = |n: usize| fields.get(n - 3).and_then(|f| f.parse::<f64>().ok());
    let seconds = |n: usize| Some(field(n)? / ticks? as f64);
    let cpu = seconds(14).zip(seconds(15)).map(|(user, system)| user + system);
    page.counter("process_cpu_seconds_total", "Processor time used, user and system.").may_be(cpu);
    let since_boot = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let boot = since_boot.lines().find_map(|l| l.strip_prefix("btime ")?.trim().parse::<f64>().ok());
    let started = boot.zip(seconds(22)).map(|(b, s)| b + s);
    page.gauge("process_start_time_seconds", "When the process started, unix time.").may_be(started);
    let status = read("status");
    let kib = |name: &str| {
        let line = status.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(':'))?;
        line.split_whitespace().next()?.parse::<f64>().ok().map(|k| k * 1024.0)
    };
    page.gauge("process_resident_memory_bytes", "Memory in use.").may_be(kib("VmRSS"));
    page.gauge("process_virtual_memory_bytes", "Memory mapped.").may_be(kib("VmSize"));
    let open = std::fs::read_dir("/proc/self/fd").ok().map(|d| d.count() as f64);
    page.gauge("process_open_fds", "Open file descriptors.").may_be(open);
    let most = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE).ok();
    page.gauge("process_max_fds", "The most that may be open.").may_be(most.map(|(soft, _)| soft as f64));
    let threads = status.lines().find_map(|l| l.strip_prefix("Threads:")?.trim().parse::<f64>().ok());
    page.gauge("process_threads", "Threads.").may_be(threads);
}
