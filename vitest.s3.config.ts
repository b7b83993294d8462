import { defineConfig } from 'vitest/config'

/** Tests that need a real S3 server; `scripts/test-s3.mjs` starts one and says where it is. */
export default defineConfig({
  test: {
    include: ['test/s3/**/*.test.ts'],
    pool: 'forks',
    maxWorkers: 2,
    testTimeout: 60_000,
    hookTimeout: 60_000,
  },
})
