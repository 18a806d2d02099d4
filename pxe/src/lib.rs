//! pxe
