//! The beacon: what this node says that it holds, signed.
