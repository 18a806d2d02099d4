//! ansible-compat
