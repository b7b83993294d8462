/** First in, first out, over one array that is reused: no allocation per item in steady state. */
export class Queue<T> {
  private items: (T | undefined)[] = []
  private head = 0

  get length(): number {
    return this.items.length - this.head
  }

  push(item: T): void {
    this.items.push(item)
  }

  /** The oldest item; undefined when there is none. */
  peek(): T | undefined {
    return this.items[this.head]
  }

  shift(): T | undefined {
    const item = this.items[this.head]
    if (this.head < this.items.length) this.items[this.head++] = undefined
    if (this.head === this.items.length) {
      this.items.length = 0
      this.head = 0
    } else if (this.head >= 64 && this.head * 2 >= this.items.length) {
      this.items.copyWithin(0, this.head)
      this.items.length -= this.head
      this.head = 0
    }
    return item
  }
}
