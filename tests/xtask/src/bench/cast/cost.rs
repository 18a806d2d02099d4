//! What was spent of this machine's processors, and by whom.

use std::fs;
use std::io;
use std::ops::{Add, Sub};

use rustix::process::Pid;

/// Clock ticks in a second of what `/proc` counts: always 100 for user space on Linux (proc(5), `USER_HZ`).
const TICKS: f64 = 100.0;

/// Processor seconds.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Cpu {
    /// In the program itself.
    pub(super) user: f64,
    /// In the kernel for it. On one machine that is the switch too: who sends carries each copy to its receiver.
    pub(super) kernel: f64,
}

impl Cpu {
    /// Of a process and the children that it has waited for: fields 14 to 17 of proc_pid_stat(5).
    pub(super) fn of(pid: Pid) -> Option<Cpu> {
        Cpu::parse(&fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?)
    }

    fn parse(stat: &str) -> Option<Cpu> {
        let (_, rest) = stat.rsplit_once(") ")?;
        let fields = rest.split_ascii_whitespace().skip(11).map_while(|field| field.parse::<f64>().ok());
        match fields.take(4).collect::<Vec<_>>().as_slice() {
            [user, kernel, user_children, kernel_children] => {
                let (user, kernel) = (user + user_children, kernel + kernel_children);
                Some(Cpu { user: user / TICKS, kernel: kernel / TICKS })
            }
            _ => None,
        }
    }
}

impl Add for Cpu {
    type Output = Cpu;

    fn add(self, other: Cpu) -> Cpu {
        Cpu { user: self.user + other.user, kernel: self.kernel + other.kernel }
    }
}

impl Sub for Cpu {
    type Output = Cpu;

    fn sub(self, other: Cpu) -> Cpu {
        Cpu { user: self.user - other.user, kernel: self.kernel - other.kernel }
    }
}

/// What all processors have done since the machine was started, in seconds; proc_stat(5).
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Machine {
    user: f64,
    idle: f64,
    all: f64,
}

impl Machine {
    /// Until now.
    ///
    /// # Errors
    /// `/proc/stat` can't be read.
    pub(super) fn now() -> io::Result<Machine> {
        Machine::parse(&fs::read_to_string("/proc/stat")?)
            .ok_or_else(|| io::Error::other("a short /proc/stat"))
    }

    /// The eight times of the first line: user, nice, system, idle, iowait, irq, softirq, steal.
    fn parse(text: &str) -> Option<Machine> {
        let line = text.lines().next()?.strip_prefix("cpu ")?;
        let times = line.split_ascii_whitespace().map_while(|field| field.parse::<f64>().ok());
        let times: Vec<f64> = times.take(8).map(|ticks| ticks / TICKS).collect();
        let [user, nice, _, idle, waiting, ..] = times.as_slice() else { return None };
        Some(Machine { user: user + nice, idle: idle + waiting, all: times.iter().sum() })
    }

    /// What was done after `before`.
    pub(super) fn since(&self, before: &Machine) -> Machine {
        let Machine { user, idle, all } = before;
        Machine { user: self.user - user, idle: self.idle - idle, all: self.all - all }
    }

    /// Per cent of the processors that nobody wanted.
    pub(super) fn idle_share(&self) -> f64 {
        100.0 * self.idle / self.all.max(1.0 / TICKS)
    }

    /// Per cent that went to programs which are not ours, when ours took so many seconds.
    pub(super) fn foreign_share(&self, ours: f64) -> f64 {
        100.0 * (self.user - ours).max(0.0) / self.all.max(1.0 / TICKS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_costs_with_its_children() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 1 2 3 4 100 50 30 20 20 0 1 0 12345 99 88";
        assert_eq!(Cpu::parse(stat), Some(Cpu { user: 1.3, kernel: 0.7 }));
        assert_eq!(Cpu::parse("7 (a) S 1 7 7 0 -1 4194560 1 2 3 4 100 50 x 20"), None);
        assert_eq!(Cpu::parse("7"), None);
    }

    #[test]
    fn shares_of_the_machine() {
        let before = Machine::parse("cpu  100 0 0 100 0 0 0 0 0 0\ncpu0 1").unwrap();
        let after = Machine::parse("cpu  300 100 50 150 50 0 0 50 0 0\n").unwrap();
        let spent = after.since(&before);
        assert_eq!((spent.idle_share(), spent.foreign_share(2.0)), (20.0, 20.0));
        assert_eq!(Machine::parse("cpu  1 2 3"), None);
    }
}
