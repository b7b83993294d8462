/** A pool thread that cannot start. */
throw new Error('cannot start')
