//! The only way an error reaches a person: what failed, and every cause below it, in one line.

use std::error::Error;
use std::fmt;

/// Prints an error with its causes: `reading /sys/x: No such file or directory`.
#[derive(Debug)]
pub struct Chain<'a>(pub &'a dyn Error);

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut said = self.0.to_string();
        f.write_str(&said)?;
        for cause in std::iter::successors(self.0.source(), |&e| e.source()) {
            // Some libraries repeat their source in their own text; a person needs it once.
            let text = cause.to_string();
            if !said.contains(&text) {
                write!(f, ": {text}")?;
                said = text;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Chain;

    #[derive(Debug, thiserror::Error)]
    #[error("writing the disk")]
    struct Outer(#[source] std::io::Error);

    #[test]
    fn prints_what_failed_and_why() {
        let error = Outer(std::io::Error::other("no space"));
        assert_eq!(Chain(&error).to_string(), "writing the disk: no space");
    }

    #[test]
    fn says_nothing_twice() {
        let inner = std::io::Error::other("no space");
        let outer = std::io::Error::other(Outer(inner));
        assert_eq!(Chain(&outer).to_string(), "writing the disk: no space");
    }
}
