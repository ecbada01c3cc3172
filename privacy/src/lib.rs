//! What makes an answer safe to give (sans-IO).
