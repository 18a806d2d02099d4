${ring.object}
