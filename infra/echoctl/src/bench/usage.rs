//! What a process used, as the kernel counted it (proc(5)).

use crate::Failure;

/// Ticks of `/proc/PID/stat` in a second: 100 on every Linux that programs see (`USER_HZ`).
const TICKS: f64 = 100.0;

/// Seconds of processor time, user and system together.
///
/// # Errors
/// When the process is gone.
pub fn cpu_seconds(pid: u32) -> Result<f64, Failure> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The second field may contain anything, up to its last parenthesis; utime and stime are fields 14 and 15.
    let (_, rest) = stat.rsplit_once(')').ok_or("/proc has no such process")?;
    let ticks: Vec<f64> = rest.split_whitespace().skip(11).take(2).filter_map(|field| field.parse().ok()).collect();
    Ok(ticks.iter().sum::<f64>() / TICKS)
}

/// The most memory it ever had, in megabytes.
///
/// # Errors
/// When the process is gone.
pub fn peak_memory_mb(pid: u32) -> Result<f64, Failure> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("/proc says no VmHWM")?;
    let kilobytes: f64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kilobytes * 1024.0 / 1e6)
}

#[cfg(test)]
mod tests {
    use super::{cpu_seconds, peak_memory_mb};

    #[test]
    fn our_own_process_used_something() {
        let pid = std::process::id();
        assert!(cpu_seconds(pid).unwrap() < 3_600.0);
        assert!(peak_memory_mb(pid).unwrap() > 1.0);
        assert!(cpu_seconds(u32::MAX).is_err());
    }
}
