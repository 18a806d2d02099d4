${ring.container}
